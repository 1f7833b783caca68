"""A loopback Anthropic Messages API: scripted for tests, rule-based for `hotclaude demo`.

`ModelServer` speaks HTTP and SSE on 127.0.0.1 and asks a *model*, a plain function from `Request`
to `Reply` (or to one of the failures in `replies`), what to answer. The real `claude` binary talks
to it when `ANTHROPIC_BASE_URL` holds its `url`.
"""
