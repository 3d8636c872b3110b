#include "kernels.hpp"

#include <dlfcn.h>
#include <glob.h>

#include <cstring>
#include <string>
#include <unordered_map>

namespace emulator {

static std::unordered_map<std::string, Kernel> &kernels() {
  static std::unordered_map<std::string, Kernel> all;
  return all;
}

void add(const Kernel &kernel) {
  const auto [it, fresh] = kernels().emplace(kernel.name, kernel);
  if (!fresh) fail("two kernels are named %s: in %s and in %s", kernel.name, it->second.file, kernel.file);
}

void load_kernels() {
  Dl_info self;
  dladdr(reinterpret_cast<void *>(&load_kernels), &self);
  std::string folder = self.dli_fname;
  folder.resize(folder.rfind('/') + 1);
  glob_t found = {};
  glob((folder + "kernels/*.so").c_str(), 0, nullptr, &found);
  for (size_t i = 0; i < found.gl_pathc; i++)
    if (!dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_LOCAL)) fail("%s", dlerror());
  globfree(&found);
}

const Kernel *find_kernel(const char *name) {
  const auto it = kernels().find(name);
  return it == kernels().end() ? nullptr : &it->second;
}

}  // namespace emulator
