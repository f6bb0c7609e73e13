# an_module(NAME FILE... LINK TARGET...): one static library with the house flags.
function(an_module name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE an_flags PUBLIC ${ARG_LINK})
endfunction()

# an_unit_test(NAME FILE... LINK TARGET...): a cmocka program, known to ctest as NAME
# (names follow the tree: tests/core/test_arena.c is core.arena).
function(an_unit_test name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  string(REPLACE "." "_" exe "test_${name}")
  add_executable(${exe} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${exe} PRIVATE an_flags ${ARG_LINK} PkgConfig::CMOCKA)
  add_test(NAME ${name} COMMAND ${exe})
  set_tests_properties(${name} PROPERTIES TIMEOUT 300 ENVIRONMENT
    "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp")
endfunction()
