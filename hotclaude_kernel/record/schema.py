"""The tables of the record, as migrations; a file goes through each of them once, in order.

A turn's `node` is a digest of the turn and of the one before it. So identical turns of two
notebooks are one row, and a `member` row links it to each notebook. `head` names the turn that
replays for a key. Blobs are compressed, and named by the digest of their content.
"""

M001 = """
create table blob(digest text primary key, size integer not null, data blob not null);
create table settings(digest text primary key, json text not null, flags text not null);
create table turn(
    id integer primary key,
    parent integer references turn,
    number integer not null,
    key text not null,
    node text not null unique,
    prompt text not null,
    settings text not null references settings,
    status text not null check (status in ('ok', 'error', 'interrupted')),
    uuid text not null,
    compacted integer not null,
    priced integer not null,
    pure integer not null,
    answer text not null,
    model text not null,
    cli text not null,
    input_tokens integer not null,
    cache_read_tokens integer not null,
    cache_write_tokens integer not null,
    output_tokens integer not null,
    context_window integer,
    cost_usd real not null,
    first_text_s real,
    total_s real not null,
    ended real not null,
    entries text not null references blob,
    frames text not null references blob,
    deltas text not null references blob
);
create index turn_parent on turn(parent);
create index turn_key on turn(key);
create table head(key text primary key, turn integer not null references turn);
create table attachment(
    turn integer not null references turn, position integer not null,
    name text not null, media_type text not null, data text not null references blob,
    primary key (turn, position)
);
create table cassette(digest text primary key);
create table notebook(id integer primary key, path text unique, branch text not null);
create table member(
    notebook integer not null references notebook,
    turn integer not null references turn,
    cell_id text,
    primary key (notebook, turn)
);
create index member_cell on member(cell_id);
create table branch(
    notebook integer not null references notebook, name text not null, turn integer references turn,
    primary key (notebook, name)
);
create table checkpoint(
    notebook integer not null references notebook, name text not null,
    turn integer not null references turn,
    primary key (notebook, name)
);
create table holder(
    notebook integer not null references notebook, branch text not null, kernel text not null,
    primary key (notebook, branch)
);
create table spending(
    notebook integer not null references notebook, at real not null,
    tokens integer not null, cost_usd real not null
);
create index spending_notebook on spending(notebook);
create table process(
    token text primary key, pid integer not null, started integer not null,
    kernel text not null, file text not null
);
"""
MIGRATIONS = (M001,)
