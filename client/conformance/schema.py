"""proto/client.proto as a module, made by protoc."""
import importlib
import os
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def load_proto(folder):
    subprocess.run(["protoc", f"--proto_path={os.path.join(TOP, 'proto')}",
                    f"--python_out={folder}", "client.proto"], check=True)
    sys.path.insert(0, folder)
    return importlib.import_module("client_pb2")
