-- Wireshark dissector of recordings that `standstill connect --record FILE` writes.
--
--   wireshark -X lua_script:standstill.lua FILE
--   tshark -X lua_script:standstill.lua -r FILE
--
-- Packets are described in docs/recording.md, messages in docs/wire-format.md. The tables of
-- numbers here are held against the code by tests.

local PACKETS = {
    [0] = "Start",
    [1] = "Request",
    [2] = "Message",
    [3] = "Connect",
    [4] = "Connected",
    [5] = "BreakIn",
    [6] = "Greeting",
    [7] = "Unsent",
    [8] = "Lost",
    [9] = "Reopened",
    [10] = "Command",
    [11] = "CommandEnd",
    [12] = "Counts",
    [13] = "End",
    [14] = "Open",
    [15] = "NotOpen",
    [16] = "Input",
    [17] = "OtherHost",
}

local REQUESTS = {
    [0x00] = "Hello",
    [0x10] = "Go",
    [0x11] = "Cores",
    [0x12] = "ShortCircuit",
    [0x20] = "ReadRegisters",
    [0x21] = "WriteRegister",
    [0x30] = "ReadMemory",
    [0x31] = "WriteMemory",
    [0x32] = "Translate",
    [0x33] = "DigestMemory",
    [0x40] = "AddEvents",
    [0x41] = "ChangeEvents",
    [0x42] = "ListEvents",
    [0x43] = "EventPrograms",
    [0x50] = "Prealloc",
    [0x51] = "Pools",
    [0x60] = "DefineGlobals",
    [0x61] = "RunScript",
    [0x62] = "Flush",
    [0x63] = "MessageCounts",
    [0x70] = "ChangeBranches",
    [0x71] = "ReadBranches",
}

local REPLIES = {
    [0x00] = "Hello",
    [0x01] = "Done",
    [0x02] = "Refused",
    [0x11] = "Cores",
    [0x20] = "Registers",
    [0x30] = "Memory",
    [0x32] = "Physical",
    [0x33] = "Digest",
    [0x34] = "MemoryAsExpected",
    [0x40] = "EventsAdded",
    [0x41] = "EventsChanged",
    [0x42] = "Events",
    [0x43] = "EventPrograms",
    [0x50] = "Carved",
    [0x51] = "Pools",
    [0x60] = "GlobalsDefined",
    [0x61] = "ScriptRan",
    [0x63] = "MessageCounts",
    [0x71] = "Branches",
}

local NOTICES = {
    [0x80] = "Stopped",
    [0x81] = "Fault",
    [0x82] = "Messages",
    [0x84] = "Goodbye",
}

local REFUSALS = {
    [0] = "ProcessNotFound",
    [1] = "PoolExhausted",
    [2] = "ClearIncomplete",
    [3] = "CoreNotHeld",
    [4] = "NotPresent",
    [5] = "PhysicalOutOfRange",
    [6] = "DebuggerMemory",
    [7] = "TooManyHooksOnPage",
    [8] = "CoreAway",
    [9] = "NoSuchEvent",
    [10] = "NoSuchCore",
    [11] = "ReadOnlyRegister",
    [12] = "BadRegisterValue",
    [13] = "TooLong",
    [14] = "NotHalted",
    [15] = "ProtocolVersion",
    [16] = "UnknownRequest",
    [17] = "Malformed",
    [18] = "ArenaTooSmall",
    [19] = "ConditionTooBig",
    [20] = "ActionTooBig",
    [21] = "BufferOverMessage",
    [22] = "BufferTooBig",
    [23] = "NoBigEvent",
    [24] = "BadProgram",
    [25] = "OptionDoesNotFit",
    [26] = "ValueOutOfRange",
    [27] = "OwnPort",
    [28] = "OwnMsr",
    [29] = "NoFeature",
    [31] = "AnswerLost",
    [32] = "NotWholePages",
    [38] = "CoreDied",
    [39] = "NoBranches",
    [40] = "GlobalLength",
    [41] = "GlobalsFull",
    [50] = "NotRam",
    [51] = "NoDetour",
    [52] = "PageTaken",
}

-- What stands in a message's body, in order. `num` is a LEB128 number, `addr` a signed distance to
-- the kernel base, `size` a number of bytes, `run` a length and so many bytes, `rest` all to the end.
local REQUEST_BODIES = {
    Hello = { { "num", "version" }, { "rest", "of that version" } },
    ShortCircuit = { { "byte", "on" } },
    ReadRegisters = { { "num", "core" }, { "num", "set" } },
    WriteRegister = { { "num", "core" }, { "byte", "register" }, { "rest", "value" } },
    ReadMemory = { { "place", "place" }, { "num", "length" }, { "digest", "expected digest" } },
    WriteMemory = { { "place", "place" }, { "rest", "bytes" } },
    Translate = { { "num", "core" }, { "addr", "address" } },
    DigestMemory = { { "size", "physical address" }, { "size", "length" } },
    AddEvents = { { "num", "core" }, { "num", "count * 2 + all or nothing" }, { "rest", "events" } },
    ChangeEvents = { { "byte", "change" }, { "optional", "event" } },
    ListEvents = { { "num", "lowest event" } },
    EventPrograms = { { "num", "event" } },
    Prealloc = { { "byte", "class" }, { "num", "count" } },
    DefineGlobals = { { "num", "count" }, { "rest", "names" } },
    RunScript = { { "num", "core" }, { "run", "program" } },
    ChangeBranches = { { "byte", "order" }, { "num", "filter" } },
    ReadBranches = { { "num", "core" } },
}

local REPLY_BODIES = {
    Hello = { { "num", "version" }, { "rest", "of that version" } },
    Refused = { { "refusal", "refusal" }, { "rest", "fields" } },
    Cores = { { "num", "count" }, { "rest", "states" } },
    Registers = { { "num", "set" }, { "rest", "values" } },
    Memory = { { "num", "length * 2 + packed" }, { "rest", "content" } },
    Physical = { { "byte", "page bits" }, { "num", "physical address" } },
    Digest = { { "fixed64", "digest" } },
    EventsAdded = { { "num", "count" }, { "rest", "results" } },
    EventsChanged = { { "num", "count" }, { "rest", "after" } },
    Events = { { "num", "count" }, { "rest", "entries" } },
    EventPrograms = {
        { "byte", "condition" },
        { "run", "condition" },
        { "run", "script" },
        { "run", "code" },
    },
    Carved = { { "rest", "pool" } },
    Pools = { { "num", "count" }, { "rest", "classes" } },
    GlobalsDefined = { { "num", "count" }, { "rest", "offsets" } },
    ScriptRan = { { "byte", "failed" }, { "num", "value" }, { "rest", "failure" } },
    MessageCounts = {
        { "num", "produced" },
        { "num", "delivered" },
        { "num", "dropped" },
        { "num", "flushed" },
        { "num", "waiting" },
        { "num", "told" },
    },
    Branches = { { "byte", "on" }, { "num", "count" }, { "rest", "branches" } },
}

local NOTICE_BODIES = {
    Stopped = { { "byte", "cause" }, { "rest", "stop" } },
    Fault = { { "num", "core" }, { "num", "vector" }, { "addr", "RIP" }, { "num", "detail" } },
    Messages = { { "num", "core" }, { "rest", "records" } },
}

local HEAD_BYTES = 13

local standstill = Proto("standstill", "Standstill, a debugger's session")

local fields = {
    crc = ProtoField.uint32("standstill.crc", "Checksum", base.HEX),
    number = ProtoField.uint32("standstill.number", "Number"),
    taken = ProtoField.uint32("standstill.taken", "Taken before"),
    packet = ProtoField.uint8("standstill.packet", "Packet", base.DEC, PACKETS),
    kind = ProtoField.uint8("standstill.kind", "Kind", base.HEX),
    name = ProtoField.string("standstill.name", "Message"),
    id = ProtoField.uint8("standstill.id", "Request"),
    reply_in = ProtoField.framenum("standstill.reply_in", "Reply in", base.NONE, frametype.RESPONSE),
    request_in = ProtoField.framenum("standstill.request_in", "Request in", base.NONE, frametype.REQUEST),
    text = ProtoField.string("standstill.text", "Text"),
    nonce = ProtoField.uint32("standstill.nonce", "Session", base.HEX),
    value = ProtoField.string("standstill.value", "Field"),
    bytes = ProtoField.bytes("standstill.bytes", "Bytes"),
    form = ProtoField.uint16("standstill.form", "Form"),
    protocol = ProtoField.uint16("standstill.protocol", "Protocol version"),
    program = ProtoField.string("standstill.program", "Program"),
    endpoint = ProtoField.string("standstill.endpoint", "Line"),
}

standstill.fields = {
    fields.crc, fields.number, fields.taken, fields.packet, fields.kind, fields.name, fields.id,
    fields.reply_in, fields.request_in, fields.text, fields.nonce, fields.value, fields.bytes,
    fields.form, fields.protocol, fields.program, fields.endpoint,
}

local malformed = ProtoExpert.new(
    "standstill.malformed", "Not what the format says", expert.group.MALFORMED, expert.severity.ERROR)
local unknown = ProtoExpert.new(
    "standstill.unknown", "A kind that is not known", expert.group.UNDECODED, expert.severity.WARN)
standstill.experts = { malformed, unknown }

-- Learned on the first pass, by number of the frame.
local request_of, reply_of, asked, names = {}, {}, {}, {}

function standstill.init()
    request_of, reply_of, asked, names = {}, {}, {}, {}
end

-- A number, and where the next field begins; nothing if there is none.
local function leb128(buffer, at)
    local value = UInt64(0, 0)
    local shift = 0
    while at < buffer:len() and shift < 70 do
        local byte = buffer(at, 1):uint()
        value = value:bor(UInt64(byte % 128, 0):lshift(shift))
        at = at + 1
        if byte < 128 then
            return value, at
        end
        shift = shift + 7
    end
end

local function is_odd(value)
    return value:band(1):lower() == 1
end

-- A distance that may be negative.
local function zigzag(value)
    local half = value:rshift(1)
    if is_odd(value) then
        return "-" .. "0x" .. (half + UInt64(1, 0)):tohex(16)
    end
    return "0x" .. half:tohex(16)
end

local readers = {}

function readers.byte(buffer, at)
    if at < buffer:len() then
        return tostring(buffer(at, 1):uint()), at + 1
    end
end

function readers.refusal(buffer, at)
    if at < buffer:len() then
        local number = buffer(at, 1):uint()
        return REFUSALS[number] or ("number " .. number), at + 1
    end
end

function readers.num(buffer, at)
    local value, after = leb128(buffer, at)
    if value then
        return "0x" .. value:tohex(16):gsub("^0+(.)", "%1"), after
    end
end

function readers.optional(buffer, at)
    if at == buffer:len() then
        return "none", at
    end
    return readers.num(buffer, at)
end

function readers.addr(buffer, at)
    local value, after = leb128(buffer, at)
    if value then
        return zigzag(value) .. " from the base", after
    end
end

function readers.size(buffer, at)
    local first, after = leb128(buffer, at)
    if first and is_odd(first) then
        local pages, behind = leb128(buffer, after)
        if not pages then
            return nil
        end
        local low = first:rshift(1)
        local swapped = low:rshift(6):bor(low:band(63):lshift(6))
        return "0x" .. pages:lshift(12):bor(swapped):tohex(16), behind
    elseif first then
        return "0x" .. first:rshift(1):lshift(12):tohex(16), after
    end
end

function readers.run(buffer, at)
    local length, after = leb128(buffer, at)
    if not length then
        return nil
    end
    length = length:tonumber()
    if after + length <= buffer:len() then
        return length .. " bytes", after + length
    end
end

function readers.rest(buffer, at)
    return (buffer:len() - at) .. " bytes", buffer:len()
end

function readers.fixed64(buffer, at)
    if at + 8 <= buffer:len() then
        return "0x" .. buffer(at, 8):le_uint64():tohex(16), at + 8
    end
end

-- Core and flags, then an address; the flags say whether a digest follows later.
function readers.place(buffer, at, state)
    local head, after = leb128(buffer, at)
    if not head then
        return nil
    end
    local flags = head:band(3):lower()
    state.has_digest = flags >= 2
    if flags % 2 == 1 then
        local value, behind = leb128(buffer, after)
        return value and "physical 0x" .. value:tohex(16), behind
    end
    local text, behind = readers.addr(buffer, after)
    return text and "core " .. head:rshift(2):tonumber() .. ", " .. text, behind
end

function readers.digest(buffer, at, state)
    if not state.has_digest then
        return "none", at
    end
    if at + 16 <= buffer:len() then
        return tostring(buffer(at, 16):bytes()), at + 16
    end
end

local function body(buffer, tree, layout)
    local at, state = 0, {}
    for _, field in ipairs(layout or {}) do
        local text, after = readers[field[1]](buffer, at, state)
        if not text or not after then
            tree:add_proto_expert_info(malformed, field[2] .. " is cut")
            return
        end
        if after > at then
            tree:add(fields.value, buffer(at, after - at), field[2] .. ": " .. text)
        end
        at = after
    end
    if at < buffer:len() then
        tree:add_proto_expert_info(malformed, (buffer:len() - at) .. " bytes too many")
    end
end

-- There is no body: all that could stand in it may be left out.
local function missing(tree, layout)
    for _, field in ipairs(layout or {}) do
        if field[1] ~= "rest" and field[1] ~= "optional" then
            tree:add_proto_expert_info(malformed, field[2] .. " is missing")
            return
        end
    end
end

-- A message; what stands in the list of packets about it.
local function message(buffer, pinfo, tree, kinds, bodies, is_reply)
    if buffer:len() == 0 then
        tree:add_proto_expert_info(malformed, "an empty message")
        return "?"
    end
    local kind = buffer(0, 1):uint()
    local name = kinds[kind]
    tree:add(fields.kind, buffer(0, 1))
    if not name then
        tree:add_proto_expert_info(unknown)
        return string.format("kind %02x", kind)
    end
    tree:add(fields.name, buffer(0, 1), name)
    local text = name
    local from = 1
    if kind < 0x80 then
        if buffer:len() < 2 then
            tree:add_proto_expert_info(malformed, "there is no number of a request")
            return text
        end
        local id = buffer(1, 1):uint()
        tree:add(fields.id, buffer(1, 1))
        text = string.format("%s #%02x", name, id)
        from = 2
        if not pinfo.visited then
            if not is_reply then
                asked[id] = pinfo.number
                names[pinfo.number] = name
            elseif asked[id] then
                request_of[pinfo.number] = asked[id]
                reply_of[asked[id]] = pinfo.number
                asked[id] = nil
            end
        end
        local other = request_of[pinfo.number]
        if other then
            tree:add(fields.request_in, other):set_generated()
            text = text .. " (to " .. (names[other] or "?") .. ")"
        elseif reply_of[pinfo.number] then
            tree:add(fields.reply_in, reply_of[pinfo.number]):set_generated()
        end
    end
    if from < buffer:len() then
        local rest = buffer(from):tvb()
        body(rest, tree, bodies[name])
        tree:add(fields.bytes, buffer(from))
    else
        missing(tree, bodies[name])
    end
    return text
end

-- A text with its length before it, and where the next field begins.
local function text16(buffer, at)
    if at + 2 > buffer:len() then
        return nil
    end
    local length = buffer(at, 2):le_uint()
    if at + 2 + length > buffer:len() then
        return nil
    end
    return buffer(at + 2, length), at + 2 + length
end

local function start(buffer, tree)
    tree:add_le(fields.form, buffer(0, 2))
    tree:add_le(fields.protocol, buffer(2, 2))
    local program, after = text16(buffer, 4)
    if not program or after >= buffer:len() then
        tree:add_proto_expert_info(malformed, "the beginning is cut")
        return ""
    end
    tree:add(fields.program, program)
    if buffer(after, 1):uint() == 1 then
        local endpoint = text16(buffer, after + 1)
        if not endpoint then
            tree:add_proto_expert_info(malformed, "the line is cut")
            return program:string()
        end
        tree:add(fields.endpoint, endpoint)
    end
    return program:string()
end

function standstill.dissector(buffer, pinfo, tree)
    pinfo.cols.protocol = "Standstill"
    local whole = tree:add(standstill, buffer())
    if buffer:len() < HEAD_BYTES then
        whole:add_proto_expert_info(malformed, "the head is cut")
        return buffer:len()
    end
    local packet = buffer(12, 1):uint()
    whole:add_le(fields.crc, buffer(0, 4))
    whole:add_le(fields.number, buffer(4, 4))
    whole:add_le(fields.taken, buffer(8, 4))
    whole:add(fields.packet, buffer(12, 1))
    local name = PACKETS[packet]
    if not name then
        whole:add_proto_expert_info(unknown)
        return buffer:len()
    end
    local text = name
    local content = buffer:len() > HEAD_BYTES and buffer(HEAD_BYTES):tvb() or nil
    if name == "Request" and content then
        pinfo.cols.src, pinfo.cols.dst = "host", "debuggee"
        text = message(content, pinfo, whole, REQUESTS, REQUEST_BODIES, false)
    elseif name == "Message" and content then
        pinfo.cols.src, pinfo.cols.dst = "debuggee", "host"
        if content(0, 1):uint() < 0x80 then
            text = message(content, pinfo, whole, REPLIES, REPLY_BODIES, true)
        else
            text = message(content, pinfo, whole, NOTICES, NOTICE_BODIES, true)
        end
    elseif name == "Start" and content and content:len() >= 6 then
        text = name .. " " .. start(content, whole)
    elseif name == "Connect" and content and content:len() == 4 then
        pinfo.cols.src, pinfo.cols.dst = "host", "debuggee"
        whole:add_le(fields.nonce, content())
        text = string.format("Connect %08x", content():le_uint())
    elseif name == "Command" and content then
        whole:add(fields.text, content())
        text = "Command " .. content():string()
    elseif (name == "Lost" or name == "Open" or name == "NotOpen") and content then
        -- Before why a line is not open stands who gave up.
        local why = text16(content, name == "NotOpen" and 9 or 0)
        if why then
            whole:add(fields.text, why)
            text = name .. " " .. why:string()
        else
            whole:add_proto_expert_info(malformed, "the text is cut")
        end
    elseif content then
        whole:add(fields.bytes, content())
    end
    pinfo.cols.info = text
    return buffer:len()
end

-- The first of the link types that are left to users.
DissectorTable.get("wtap_encap"):add(wtap.USER0, standstill)
