#include "ptx.hpp"

#include <cctype>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace emulator {

namespace {

using Text = std::string_view;

bool is_name(char c) { return isalnum((unsigned char)c) || c == '_' || c == '$' || c == '%' || c == '.'; }

// Takes the next word off the text: a name, an instruction with its dots, or one character of another kind.
Text word(Text &text) {
  size_t i = 0;
  while (i < text.size() && isspace((unsigned char)text[i])) i++;
  size_t end = i;
  while (end < text.size() && is_name(text[end])) end++;
  if (end == i && end < text.size()) end++;
  const Text found = text.substr(i, end - i);
  text.remove_prefix(end);
  return found;
}

unsigned type_size(Text type) {
  size_t i = type.size();
  while (i && isdigit((unsigned char)type[i - 1])) i--;
  return i < type.size() ? atoi(std::string(type.substr(i)).c_str()) / 8 : 0;
}

// A declaration such as `.align 4 .b8 name[128]` up to what ends it; its size, and its name.
unsigned declaration(Text &text, Text &name) {
  unsigned size = 0, elements = 1;
  while (!text.empty()) {
    Text before = text;
    const Text w = word(text);
    if (w == ";" || w == "," || w == ")") {
      if (w == ")") text = before;
      break;
    }
    if (w == ".align" || w == ".ptr") {
      if (w == ".align") word(text);
    } else if (w == "[") {
      const Text n = word(text);
      elements = atoi(std::string(n).c_str());
      if (n != "]") word(text);
    } else if (w[0] == '.') {
      if (const unsigned s = type_size(w)) size = s;
    } else {
      name = w;
    }
  }
  return size * elements;
}

}  // namespace

std::unordered_map<std::string, Entry> read_ptx(const char *ptx) {
  std::unordered_map<std::string, Entry> entries;
  std::unordered_map<Text, unsigned> shared;  // the module's variables
  Entry *entry = nullptr;
  std::unordered_map<Text, bool> counted;  // the variables this entry was seen to use
  Text text = ptx;
  while (!text.empty()) {
    const Text w = word(text);
    if (w == "/" && text.substr(0, 1) == "/") {
      const size_t end = text.find('\n');
      text.remove_prefix(end == Text::npos ? text.size() : end);
    } else if (w == ".shared") {
      Text name;
      const unsigned size = declaration(text, name);
      shared[name] = size;
    } else if (w == ".func") {
      entry = nullptr;
    } else if (w == ".entry") {
      entry = &entries[std::string(word(text))];
      *entry = {};
      counted.clear();
      Text next = text;
      if (word(next) != "(") continue;
      text = next;
      while (true) {
        next = text;
        if (word(next) != ".param") break;
        text = next;
        Text name;
        entry->parameters.push_back(declaration(text, name));
      }
    } else if (w == ".maxntid" && entry) {
      entry->max_threads = 1;
      do entry->max_threads *= atoi(std::string(word(text)).c_str());
      while (word(text) == ",");
    } else if (entry && !shared.empty() && (w[0] == '_' || isalpha((unsigned char)w[0]))) {
      const auto it = shared.find(w);
      if (it != shared.end() && !counted[w]) {
        counted[w] = true;
        entry->shared += it->second;
      }
    }
  }
  return entries;
}

}  // namespace emulator
