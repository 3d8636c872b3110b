# Turns a preprocessed .cu file into C++ that g++ compiles: rewrites the two keywords that are left, and appends a
# registration of each kernel, whose parameters the compiler then finds out by itself.

# The names a declaration declares, separated by spaces: the last word of each part, without brackets.
function declared(text,   parts, n, i, names) {
  while (gsub(/\[[^][]*\]/, "", text));
  while (gsub(/\([^()]*\)/, "", text));
  while (gsub(/<[^<>]*>/, "", text));
  n = split(text, parts, ",")
  for (i = 1; i <= n; i++) {
    sub(/[ ;]*$/, "", parts[i])
    sub(/.*[^A-Za-z_0-9]/, "", parts[i])
    names = names " " parts[i]
  }
  return names
}

# A declaration in shared memory becomes one of storage of the OS thread that runs a block, poisoned by the first of
# the block's threads to come there. What is sized by the launch becomes a pointer to it.
function shared(text,   names, list, n, i, type, result) {
  if (text ~ /^extern/) {
    sub(/^extern +__emulator_shared__/, "", text)
    names = declared(text)
    sub(/^ /, "", names)
    type = text
    sub("[^A-Za-z_0-9]" names " *\\[ *\\] *;$", "", type)
    return type " *" names " = (decltype(" names ")) ::emulator::dynamic_shared();"
  }
  sub(/^static +/, "", text)
  sub(/^__emulator_shared__( +static )?/, "", text)
  result = "static thread_local" text
  n = split(declared(text), list, " ")
  for (i = 1; i <= n; i++)
    result = result " static thread_local unsigned emulator_serial_" list[i] "; ::emulator::fresh(emulator_serial_" \
      list[i] ", &" list[i] ", sizeof " list[i] ");"
  return result
}

{
  while ($0 ~ /__emulator_shared__[^;]*$/ && (getline rest) > 0)
    if (rest !~ /^#/) $0 = $0 " " rest
  done = ""
  while (match($0, /((extern|static) +)?__emulator_shared__[^;]*;/)) {
    done = done substr($0, 1, RSTART - 1) shared(substr($0, RSTART, RLENGTH))
    $0 = substr($0, RSTART + RLENGTH)
  }
  $0 = done $0

  # A kernel's head may span lines; one of a template has no name of its own in PTX and is left out.
  if ($0 !~ /^#/) {
    if (head != "" || $0 ~ /__emulator_global__/) head = head " " $0
    while (match(head, /__emulator_global__[^(;{]*\(/)) {
      name = substr(head, RSTART, RLENGTH - 1)
      template = substr(head, 1, RSTART - 1) ~ /template *<[^;{}]*$/ || previous ~ /^ *template *<.*> *$/
      head = substr(head, RSTART + RLENGTH)
      sub(/ +$/, "", name)
      sub(/.*[^A-Za-z_0-9]/, "", name)
      if (!template && !(name in seen)) {
        seen[name]
        names[count++] = name
      }
    }
    if (head !~ /__emulator_global__/) head = ""
    if ($0 ~ /[^ ]/) previous = $0
  }
  gsub(/__emulator_global__/, "")
  print
}

END {
  for (i = 0; i < count; i++) {
    call = "::emulator::Call<&" names[i] ">"
    printf "static ::emulator::Registration emulator_registration_%s({\"%s\", \"%s\", ", names[i], names[i], file
    printf "%s::call, %s::parameters, %s::count});\n", call, call, call
  }
}
