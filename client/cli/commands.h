/* Every command of `anser`, once: dispatch, help and documentation come from here. */
#ifndef AN_CLIENT_CLI_COMMANDS_H
#define AN_CLIENT_CLI_COMMANDS_H

/* X(name, function, usage, summary). Each in its own file cmd_NAME.c; main() hands over
 * argv from the command's name on. */
#define AN_CLI_COMMANDS(X)                                                               \
    X("up", cmd_up, "[--data DIR] [--config FILE] [--listen tcp://HOST:PORT]",           \
      "run a node: every actor and the store in one process")                            \
    X("run", cmd_run, "ACTOR... --cluster FILE",                                         \
      "run some actors of a cluster file in one process")                                \
    X("cluster", cmd_cluster, "COMMAND FILE", "plan, make keys for, run a cluster")      \
    X("user", cmd_user, "add NAME [--app APP]", "make an account on the running node")   \
    X("token", cmd_token, "NAME [--ttl 24h] [--app APP]", "print a signed login token")  \
    X("app", cmd_app, "key [APP]", "print what an app's back end signs with")            \
    X("noise", cmd_noise, "key [--data DIR]",                                            \
      "print the public key of noise:// addresses")                                      \
    X("chat", cmd_chat, "NAME [--to OTHER]", "talk in a terminal")                       \
    X("send", cmd_send, "--user NAME --to OTHER [TEXT... | --file F | -]",               \
      "send a message; prints ID SEQ")                                                   \
    X("recv", cmd_recv, "--user NAME [--follow | --count N]",                            \
      "print messages as they come")                                                     \
    X("history", cmd_history, "--user NAME --with OTHER", "print a conversation")        \
    X("check", cmd_check, "[DIR]", "verify every stored invariant, offline")             \
    X("backup", cmd_backup, "OUT [--data DIR]", "copy a running node's data")            \
    X("trace", cmd_trace, "ID", "show where a message was seen, with times")             \
    X("metrics", cmd_metrics, "[--data DIR]", "print Prometheus text of every actor")    \
    X("bench", cmd_bench, "[--users N] [--window W]", "load a running node")             \
    X("version", cmd_version, "", "print the version")

#define AN_CLI_DECLARE(name, function, usage, summary)                                   \
    int function(int argc, char **argv);
AN_CLI_COMMANDS(AN_CLI_DECLARE)
#undef AN_CLI_DECLARE

#endif
