// Names in the file system that must not outlive the process, for what bears them is a secret or half of a file.
#pragma once

#include <mutex>
#include <string>

namespace warpkem::tool {

// Held by whoever makes, renames or removes a name, so that a signal that ends the process finds each file either as a
// temporary or finished.
std::mutex& names_lock();

// With the lock held. `folder` stays open until the name is forgotten. Throws Error if there are too many.
void remember_temporary(int folder, const std::string& name);
void forget_temporary(int folder, const std::string& name) noexcept;

// A name that nothing has: ".warpkem-" and 16 digits.
std::string new_temporary_name();

// From now on every signal that ends the process removes the temporaries first, and then ends it as ever. Signals that
// the process was told to ignore, to block or to handle otherwise keep that meaning. Before any other thread starts.
void remove_temporaries_on_signals();

}  // namespace warpkem::tool
