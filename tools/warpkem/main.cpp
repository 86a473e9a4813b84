// warpkem: ML-KEM for files of raw records, by the thousand. Exit status: 0; 1 wrong usage or I/O; 2 some items failed.
#include <exception>
#include <new>
#include <system_error>

#include "tools/warpkem/commands.hpp"
#include "tools/warpkem/io.hpp"

int main(int argc, char** argv) {
  using namespace warpkem::tool;
  try {
    prepare_process();
    Program program;
    for (const auto add : {add_keygen, add_encaps, add_decaps, add_check, add_import, add_export, add_inspect,
                           add_completion, add_manual, add_acvp, add_info, add_selftest, add_bench, add_serve_bench})
      add(program);
#ifdef WARPKEM_TOOL_HAS_TLS
    add_tls_check(program);
#endif
    return program.run(argc, argv);
  } catch (const std::bad_alloc&) {
    write_stderr("warpkem: out of memory\n");
    return exit_error;
  } catch (const std::system_error& error) {
    write_stderr({"warpkem: a call of the system failed: ", error.what(), "\n"});
    return exit_error;
  } catch (const std::exception& error) {
    write_stderr({"warpkem: ", error.what(), "\n"});
    return exit_error;
  }
}
