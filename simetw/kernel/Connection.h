// One program's connection: takes its requests and answers them.
#pragma once

#include <memory>
#include <string>

#include "Machine.h"
#include "Pipe.h"
#include "Window.h"

namespace simetw {

class Connection final {
public:
    explicit Connection(HANDLE pipe) : m_pipe(pipe) {}
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    // Until the program goes away.
    void Serve();

private:
    std::uint32_t Answer(Operation operation, Bytes& body, Bytes& answer);
    std::uint32_t Hello(const Bytes& body);
    std::uint32_t Open(const Bytes& body, Bytes& answer);
    std::uint32_t Order(Operation operation, Bytes& body, Bytes& answer);

    Pipe m_pipe;
    Machine* m_machine = nullptr;
    std::uint32_t m_program = 0;
    // A connection of a consumer is for this consumer alone.
    std::shared_ptr<Consumer> m_consumer;
    std::wstring m_session;
    Window m_window;
};

} // namespace simetw
