"""The tables of the record, as migrations; a file goes through each of them once, in order.

A turn's `node` is a digest of the turn and of the one before it. So identical turns of two
notebooks are one row, and a `member` row links it to each notebook. An `answer` row says that a
turn may replay for its key in a notebook; of several, the one with the highest `at` is the newest.
A cassette that was loaded is a notebook without a path and without members. Blobs are compressed,
and named by the digest of their content.
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
# What replays is a notebook's own. Until here, `head` named one turn for a key, in all notebooks.
# `folder`: where a notebook without a path ran. `endpoint`: the API's origin, null if unknown.
# `condition`: the content of a file that the prompt pulled in when it was asked; with `after` 1,
# the content that the turn left it with; with 2, a file of the user's own, which is only noted. No
# digest: there was no such file.
# The cassettes are loaded again, from their files. The last five tables are for what is to come.
M002 = """
alter table notebook add column folder text;
alter table notebook add column cassette text;
create index notebook_folder on notebook(folder);
create unique index notebook_cassette on notebook(cassette);
create table answer(
    notebook integer not null references notebook,
    turn integer not null references turn,
    key text not null,
    at integer not null,
    endpoint text,
    primary key (notebook, turn)
);
create index answer_key on answer(key);
create index answer_turn on answer(turn);
insert into answer(notebook, turn, key, at)
    select m.notebook, t.id, t.key,
           row_number() over (partition by m.notebook order by h.turn is not null, t.id)
    from member m join turn t on t.id = m.turn left join head h on h.turn = t.id
    where t.status = 'ok';
drop table head;
drop table cassette;
create table condition(
    notebook integer not null references notebook,
    turn integer not null references turn,
    path text not null,
    after integer not null,
    sha256 text,
    primary key (notebook, turn, path, after)
);
create index condition_turn on condition(turn);
create table graft(
    turn integer primary key references turn,
    of integer not null references turn,
    edited integer not null
);
create table run(
    id integer primary key, notebook integer references notebook, folder text not null,
    name text not null, spec text not null, cap_usd real, created real not null,
    provenance text not null, unique (folder, name)
);
create table trial(
    run integer not null references run, item text not null, variant text not null,
    sample integer not null, key text not null, turn integer references turn,
    status text not null, primary key (run, item, variant, sample)
);
create table score(
    turn integer not null references turn, scorer text not null, value real, detail text,
    primary key (turn, scorer)
);
create table claim(
    run integer not null references run, key text not null, kernel text not null,
    est_usd real not null, expires real not null, primary key (run, key)
);
"""
# `pulled`: the digest of the files that the prompt pulled in, a part of the node since then.
M003 = """
alter table turn add column pulled text not null default '';
"""
MIGRATIONS = (M001, M002, M003)
