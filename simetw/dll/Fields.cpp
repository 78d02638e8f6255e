#include "Fields.h"

#include <cstdio>
#include <cstring>
#include <sstream>

#include "Buffer.h"
#include "Schema.h"

namespace simetw {

namespace {

constexpr USHORT OutText = 1, OutUnsigned = 8, OutHex = 19, OutProcess = 20, OutThread = 21, OutDate = 16;
constexpr std::size_t SidHead = 8;

// Fields as words: a name and a letter for its type, as Letters has them.
struct Known {
    const GUID& Provider;
    std::uint8_t Id; // or the opcode of a classic event
    std::uint8_t Version;
    const wchar_t* Task;
    std::wstring Words;
};

struct Letter {
    wchar_t Name;
    InType Type;
    USHORT OutType;
};

constexpr Letter Letters[] = {
    {L'p', InUInt32, OutProcess}, {L't', InUInt32, OutThread},   {L'u', InUInt32, OutUnsigned},
    {L'q', InUInt64, OutUnsigned}, {L'h', InUInt16, OutUnsigned}, {L'b', InUInt8, OutUnsigned},
    {L'x', InPointer, OutHex},    {L'f', InFiletime, OutDate},   {L'w', InText, OutText},
    {L'a', InNarrowText, OutText}, {L's', InSid, OutText},        {L'S', InWbemSid, OutText},
};

const std::wstring Parents = L"CreateTime f ParentProcessID p ";
const std::wstring Image = L"ImageName w ImageChecksum u TimeDateStamp u PackageFullName w PackageRelativeAppId w ";
const std::wstring Start0 = L"ProcessID p " + Parents + L"SessionID u ";
const std::wstring Start2 = Start0 + L"Flags u " + Image;
const std::wstring Start3 = L"ProcessID p ProcessSequenceNumber q CreateTime f ParentProcessID p"
                            L" ParentProcessSequenceNumber q SessionID u Flags u ProcessTokenElevationType u"
                            L" ProcessTokenIsElevated u MandatoryLabel s " +
                            Image;
const std::wstring Start4 = Start3 + L"SecurityMitigations u ";
const std::wstring Start5 = Start4 + L"PartitionID u ProcessMachine h ";
const std::wstring Stop = L"CreateTime f ExitTime f ExitCode u TokenElevationType u HandleCount u CommitCharge q"
                          L" CommitPeak q ";
const std::wstring Counts = L"CPUCycleCount q ReadOperationCount u WriteOperationCount u ReadTransferKiloBytes u"
                            L" WriteTransferKiloBytes u HardFaultCount u ";
const std::wstring Stacks = L"StackBase x StackLimit x UserStackBase x UserStackLimit x StartAddr x"
                            L" Win32StartAddr x TebBase x ";
const std::wstring Thread0 = L"ProcessID p ThreadID t " + Stacks;
const std::wstring Thread1 = Thread0 + L"SubProcessTag u ";
const std::wstring Load = L"ImageBase x ImageSize x ProcessID p ImageCheckSum u TimeDateStamp u DefaultBase x"
                          L" ImageName w ";
const std::wstring ClassicThread = L"ProcessId p TThreadId t " + Stacks + L"SubProcessTag u ";
const std::wstring ClassicThread3 = ClassicThread + L"BasePriority b PagePriority b IoPriority b ThreadFlags b ";
const std::wstring ClassicProcess3 = L"UniqueProcessKey x ProcessId p ParentId p SessionId u ExitStatus u"
                                     L" DirectoryTableBase x UserSID S ImageFileName a CommandLine w ";
const std::wstring ClassicProcess4 = L"UniqueProcessKey x ProcessId p ParentId p SessionId u ExitStatus u"
                                     L" DirectoryTableBase x Flags u UserSID S ImageFileName a CommandLine w"
                                     L" PackageFullName w ApplicationId w ";
const std::wstring ClassicImage = L"ImageBase x ImageSize x ProcessId p ImageCheckSum u TimeDateStamp u"
                                  L" SignatureLevel b SignatureType b Reserved0 h DefaultBase x Reserved1 u"
                                  L" Reserved2 u Reserved3 u Reserved4 u FileName w ";

// Any opcode of a class.
constexpr std::uint8_t Any = 0xFF;

const std::vector<Known>& All()
{
    static const std::vector<Known> all = {
        {KernelProcess, 1, 0, L"ProcessStart", Start0 + L"ImageName w "},
        {KernelProcess, 1, 1, L"ProcessStart", Start0 + L"Flags u ImageName w "},
        {KernelProcess, 1, 2, L"ProcessStart", Start2},
        {KernelProcess, 1, 3, L"ProcessStart", Start3},
        {KernelProcess, 1, 4, L"ProcessStart", Start4},
        {KernelProcess, 1, 5, L"ProcessStart", Start5},
        {KernelProcess, 2, 0, L"ProcessStop", L"ProcessID p " + Stop + L"ImageName a "},
        {KernelProcess, 2, 1, L"ProcessStop", L"ProcessID p " + Stop + Counts + L"ImageName a "},
        {KernelProcess, 2, 2, L"ProcessStop",
         L"ProcessID p ProcessSequenceNumber q " + Stop + Counts + L"ImageName a "},
        {KernelProcess, 3, 0, L"ThreadStart", Thread0},
        {KernelProcess, 3, 1, L"ThreadStart", Thread1},
        {KernelProcess, 4, 0, L"ThreadStop", Thread0},
        {KernelProcess, 4, 1, L"ThreadStop", Thread1 + L"CycleTime q "},
        {KernelProcess, 5, 0, L"ImageLoad", Load},
        {KernelProcess, 6, 0, L"ImageUnload", Load},
        {KernelProcess, 15, 0, L"ProcessRundown", Start2},
        {KernelProcess, 15, 1, L"ProcessRundown", Start3},
        {KernelProcess, 15, 2, L"ProcessRundown", Start4},
        {KernelProcess, 15, 3, L"ProcessRundown", Start5},
        {ProcessClass, Any, 3, L"Process", ClassicProcess3},
        {ProcessClass, Any, 4, L"Process", ClassicProcess4},
        {ThreadClass, Any, 2, L"Thread", ClassicThread},
        {ThreadClass, Any, 3, L"Thread", ClassicThread3},
        {ImageClass, Any, 3, L"Image", ClassicImage},
    };
    return all;
}

std::vector<Field> Parsed(const std::wstring& words)
{
    std::vector<Field> fields;
    std::wistringstream stream(words);
    std::wstring name;
    wchar_t type = 0;
    while (stream >> name >> type) {
        for (const Letter& letter : Letters) {
            if (letter.Name == type) {
                fields.push_back({name, letter.Type, letter.OutType});
            }
        }
    }
    return fields;
}

std::size_t SizeOfText(const std::uint8_t* data, std::size_t size, std::size_t unit)
{
    for (std::size_t at = 0; at + unit <= size; at += unit) {
        if (data[at] == 0 && (unit == 1 || data[at + 1] == 0)) {
            return at + unit;
        }
    }
    return size; // the last one may lack its NUL
}

std::size_t SizeOfSid(const std::uint8_t* data, std::size_t size)
{
    return size < SidHead ? 0 : SidHead + data[1] * sizeof(ULONG);
}

} // namespace

const EventFields* FieldsOf(const EVENT_HEADER& header)
{
    static const std::vector<EventFields> parsed = [] {
        std::vector<EventFields> all;
        for (const Known& known : All()) {
            const bool ofProvider = IsEqualGUID(known.Provider, KernelProcess);
            all.push_back(
                {ofProvider ? KernelProcessName : KernelTraceName, known.Task,
                 ofProvider ? DecodingSourceXMLFile : DecodingSourceWbem, Parsed(known.Words)});
        }
        return all;
    }();
    const bool classic = (header.Flags & EVENT_HEADER_FLAG_CLASSIC_HEADER) != 0;
    const EVENT_DESCRIPTOR& event = header.EventDescriptor;
    for (std::size_t index = 0; index < parsed.size(); ++index) {
        const Known& known = All()[index];
        if (IsEqualGUID(known.Provider, header.ProviderId) && known.Version == event.Version &&
            (classic ? known.Id == Any || known.Id == event.Opcode : known.Id == event.Id)) {
            return &parsed[index];
        }
    }
    return nullptr;
}

std::size_t SizeOfValue(InType type, std::size_t pointerSize, const std::uint8_t* data, std::size_t size)
{
    std::size_t needed = 0;
    switch (type) {
    case InText:
        return SizeOfText(data, size, sizeof(wchar_t));
    case InNarrowText:
        return SizeOfText(data, size, 1);
    case InUInt8:
        needed = 1;
        break;
    case InUInt16:
        needed = 2;
        break;
    case InUInt32:
        needed = 4;
        break;
    case InUInt64:
    case InFiletime:
        needed = 8;
        break;
    case InPointer:
        needed = pointerSize;
        break;
    case InSid:
        needed = SizeOfSid(data, size);
        break;
    case InWbemSid: {
        const std::size_t user = 2 * pointerSize; // TOKEN_USER
        ULONG first = 0;
        if (size >= sizeof first) {
            std::memcpy(&first, data, sizeof first);
        }
        needed = first == 0 ? sizeof first : size < user ? 0 : user + SizeOfSid(data + user, size - user);
        break;
    }
    }
    return needed <= size ? needed : 0;
}

std::wstring TextOfValue(InType type, const std::uint8_t* data, std::size_t size)
{
    std::wstring text;
    if (type == InText) {
        for (std::size_t at = 0; at + 1 < size && (data[at] != 0 || data[at + 1] != 0); at += sizeof(wchar_t)) {
            text += static_cast<wchar_t>(data[at] | data[at + 1] << 8);
        }
        return text;
    }
    if (type == InNarrowText) {
        for (std::size_t at = 0; at < size && data[at] != 0; ++at) {
            text += static_cast<wchar_t>(data[at]);
        }
        return text;
    }
    wchar_t digits[32];
    if (type == InSid || type == InWbemSid) {
        const std::size_t at = type == InSid ? 0 : 2 * sizeof(void*);
        if (size < at + SidHead) {
            return text;
        }
        text = L"S-" + std::to_wstring(data[at]) + L"-" + std::to_wstring(data[at + 7]);
        for (std::size_t part = at + SidHead; part + sizeof(ULONG) <= size; part += sizeof(ULONG)) {
            ULONG value = 0;
            std::memcpy(&value, data + part, sizeof value);
            text += L"-" + std::to_wstring(value);
        }
        return text;
    }
    unsigned long long value = 0;
    std::memcpy(&value, data, size);
    std::swprintf(digits, std::size(digits), type == InPointer ? L"0x%llX" : L"%llu", value);
    return digits;
}

} // namespace simetw
