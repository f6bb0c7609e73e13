# One interface target carries every flag: an_flags. Generated code does not use it.
add_library(an_flags INTERFACE)
target_compile_definitions(an_flags INTERFACE _GNU_SOURCE)
target_include_directories(an_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(an_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes
  -Wmissing-prototypes -Wold-style-definition -Wcast-qual -Wcast-align -Wwrite-strings
  -Wpointer-arith -Wundef -Wvla -Wformat=2 -Wimplicit-fallthrough -Wnull-dereference
  -fno-omit-frame-pointer)
if(AN_WERROR)
  target_compile_options(an_flags INTERFACE -Werror)
endif()

# Our assert does not vanish: CMake's Release adds NDEBUG, ours must not.
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELWITHDEBINFO "${CMAKE_C_FLAGS_RELWITHDEBINFO}")
if(CMAKE_BUILD_TYPE MATCHES "Rel")
  target_compile_options(an_flags INTERFACE -fstack-protector-strong -D_FORTIFY_SOURCE=2)
endif()

if(AN_SANITIZE)
  add_compile_options(-fsanitize=${AN_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${AN_SANITIZE})
endif()
if(AN_FUZZ) # and which lines a corpus reaches: tests/fuzz/run
  add_compile_options(-fsanitize=fuzzer-no-link -fcoverage-mapping
    -fprofile-instr-generate=${CMAKE_BINARY_DIR}/default.profraw)
  add_link_options(-fprofile-instr-generate)
endif()
