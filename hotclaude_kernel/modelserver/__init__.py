"""A loopback Anthropic Messages API: scripted for tests, rule-based for `hotclaude demo`.

`ModelServer` speaks HTTP and server-sent events on 127.0.0.1. Its answers come from a *model*, a
function from `Request` to `Reply` or to one of the failures in `replies`. The real `claude` binary
talks to it if `ANTHROPIC_BASE_URL` is the server's `url`.
"""
