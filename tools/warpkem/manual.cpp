// warpkem manual: the manual pages, made of what the help is made of. The build installs them.
#include <filesystem>
#include <fstream>

#include "tools/warpkem/commands.hpp"
#include "tools/warpkem/error.hpp"

namespace warpkem::tool {

void add_manual(Program& program) {
  const auto folder = std::make_shared<std::string>();
  Arguments arguments =
      program.add("manual", "Write the manual pages of the program and of its commands", [folder, &program] {
        std::filesystem::create_directories(*folder);
        for (const auto& [name, text] : program.manual()) {
          const std::string path = *folder + "/" + name;
          std::ofstream file(path, std::ios::binary);
          if (!(file << text << std::flush)) throw Error(path + " cannot be written");
        }
        return exit_ok;
      });
  arguments.file("--folder", *folder, "Out: a folder, which is made if it is not there; it gets a file for each page",
                 Need::required);
  arguments.note("'man ./warpkem.1' in that folder shows one.");
}

}  // namespace warpkem::tool
