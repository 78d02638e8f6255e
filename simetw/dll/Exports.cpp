#include "Exports.h"

#include <cstring>
#include <map>
#include <string>

#include "Pipe.h"

namespace simetw {

namespace {

constexpr std::size_t TrampolineSize = 16;
constexpr std::uint64_t Granularity = 0x10000;

// A module's exports, taken apart.
struct Exports {
    IMAGE_EXPORT_DIRECTORY Directory;
    std::vector<DWORD> Functions;
    std::map<std::string, WORD> Ordinals; // by name, in the order that a search needs
};

IMAGE_DATA_DIRECTORY& DirectoryOf(std::uint8_t* base)
{
    const auto* const dos = reinterpret_cast<const IMAGE_DOS_HEADER*>(base);
    auto* const headers = reinterpret_cast<IMAGE_NT_HEADERS*>(base + dos->e_lfanew);
    return headers->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_EXPORT];
}

Exports Read(const std::uint8_t* base, const IMAGE_DATA_DIRECTORY& directory)
{
    Exports exports;
    std::memcpy(&exports.Directory, base + directory.VirtualAddress, sizeof exports.Directory);
    const auto* const functions = reinterpret_cast<const DWORD*>(base + exports.Directory.AddressOfFunctions);
    exports.Functions.assign(functions, functions + exports.Directory.NumberOfFunctions);
    const auto* const names = reinterpret_cast<const DWORD*>(base + exports.Directory.AddressOfNames);
    const auto* const ordinals =
        reinterpret_cast<const WORD*>(base + exports.Directory.AddressOfNameOrdinals);
    for (DWORD index = 0; index < exports.Directory.NumberOfNames; ++index) {
        exports.Ordinals[reinterpret_cast<const char*>(base + names[index])] = ordinals[index];
    }
    return exports;
}

// Memory that 32 bits reach from the module's base, upwards as such offsets go.
std::uint8_t* AllocateBehind(std::uint8_t* base, std::size_t size)
{
    const auto from = reinterpret_cast<std::uint64_t>(base);
    for (std::uint64_t at = from + Granularity; at < from + 0x7FFF0000; at += Granularity) {
        void* const memory =
            VirtualAlloc(reinterpret_cast<void*>(at), size, MEM_RESERVE | MEM_COMMIT, PAGE_EXECUTE_READWRITE);
        if (memory != nullptr) {
            return static_cast<std::uint8_t*>(memory);
        }
    }
    return nullptr;
}

// mov rax, function; jmp rax
void WriteTrampoline(std::uint8_t* at, void* function)
{
    constexpr std::uint8_t move[] = {0x48, 0xB8};
    constexpr std::uint8_t jump[] = {0xFF, 0xE0};
    std::memcpy(at, move, sizeof move);
    std::memcpy(at + sizeof move, &function, sizeof function);
    std::memcpy(at + sizeof move + sizeof function, jump, sizeof jump);
}

} // namespace

bool ReplaceExports(HMODULE module, const std::vector<Replacement>& replacements)
{
    auto* const base = reinterpret_cast<std::uint8_t*>(module);
    IMAGE_DATA_DIRECTORY& directory = DirectoryOf(base);
    Exports exports = Read(base, directory);
    const DWORD oldBegin = directory.VirtualAddress;
    const DWORD oldEnd = oldBegin + directory.Size;

    std::size_t size = sizeof exports.Directory;
    for (const Replacement& each : replacements) {
        exports.Ordinals.try_emplace(each.Name, static_cast<WORD>(exports.Functions.size()));
        if (exports.Ordinals[each.Name] == exports.Functions.size()) {
            exports.Functions.push_back(0);
        }
    }
    for (const auto& [name, ordinal] : exports.Ordinals) {
        size += name.size() + 1 + sizeof(DWORD) + sizeof(WORD);
    }
    // A forwarder is a text inside of the directory, so it has to move along.
    for (const DWORD function : exports.Functions) {
        const bool forwards = function >= oldBegin && function < oldEnd;
        size +=
            sizeof(DWORD) + (forwards ? std::strlen(reinterpret_cast<const char*>(base + function)) + 1 : 0);
    }
    const std::size_t trampolines = replacements.size() * TrampolineSize;
    std::uint8_t* const memory = AllocateBehind(base, trampolines + size + Granularity);
    if (memory == nullptr) {
        return false;
    }
    const auto rva = [base](const void* at) {
        return static_cast<DWORD>(static_cast<const std::uint8_t*>(at) - base);
    };

    std::uint8_t* at = memory;
    for (const Replacement& each : replacements) {
        WriteTrampoline(at, each.Function);
        exports.Functions[exports.Ordinals[each.Name]] = rva(at);
        at += TrampolineSize;
    }

    auto* const target = reinterpret_cast<IMAGE_EXPORT_DIRECTORY*>(at);
    auto* const functions = reinterpret_cast<DWORD*>(target + 1);
    auto* const names = functions + exports.Functions.size();
    auto* const ordinals = reinterpret_cast<WORD*>(names + exports.Ordinals.size());
    auto* text = reinterpret_cast<char*>(ordinals + exports.Ordinals.size());
    const auto putText = [&](const char* from) {
        char* const here = text;
        text = std::strcpy(text, from) + std::strlen(from) + 1;
        return rva(here);
    };
    *target = exports.Directory;
    target->NumberOfFunctions = static_cast<DWORD>(exports.Functions.size());
    target->NumberOfNames = static_cast<DWORD>(exports.Ordinals.size());
    target->AddressOfFunctions = rva(functions);
    target->AddressOfNames = rva(names);
    target->AddressOfNameOrdinals = rva(ordinals);
    for (std::size_t index = 0; index < exports.Functions.size(); ++index) {
        const DWORD function = exports.Functions[index];
        const bool forwards = function >= oldBegin && function < oldEnd;
        functions[index] = forwards ? putText(reinterpret_cast<const char*>(base + function)) : function;
    }
    std::size_t index = 0;
    for (const auto& [name, ordinal] : exports.Ordinals) {
        names[index] = putText(name.c_str());
        ordinals[index++] = ordinal;
    }

    DWORD protection = 0;
    if (!VirtualProtect(&directory, sizeof directory, PAGE_READWRITE, &protection)) {
        return false;
    }
    directory.VirtualAddress = rva(target);
    directory.Size = rva(text) - rva(target);
    VirtualProtect(&directory, sizeof directory, protection, &protection);
    return true;
}

} // namespace simetw
