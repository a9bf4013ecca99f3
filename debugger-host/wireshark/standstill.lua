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
    [0x13] = "Step",
    [0x14] = "ListTasks",
    [0x15] = "Occasions",
    [0x16] = "Restart",
    [0x17] = "Crash",
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
    [0x13] = "Stepped",
    [0x14] = "Tasks",
    [0x15] = "Occasions",
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
    [0x85] = "Steps",
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

local REFUSAL_FIELDS = {
    [0] = "number (pid)",
    [1] = "byte (class), number (reserved), number (in use), number (needed), number (most), number (object bytes), size (arena left bytes), number (possible), number (refill ms)",
    [2] = "core, event",
    [3] = "core",
    [4] = "address",
    [5] = "physical, size (limit)",
    [6] = "physical",
    [7] = "number (limit)",
    [8] = "core",
    [9] = "event",
    [10] = "core, number (count)",
    [11] = "byte (register)",
    [12] = "byte (register), number (value)",
    [13] = "size (limit bytes), size (asked bytes)",
    [15] = "number (ours)",
    [16] = "byte (kind)",
    [18] = "byte (class), number (asked), number (possible), number (room)",
    [19] = "number (limit bytes), number (asked bytes)",
    [20] = "number (limit bytes), number (asked bytes)",
    [21] = "number (limit bytes), number (asked bytes), number (most bytes)",
    [22] = "number (limit bytes), number (asked bytes)",
    [23] = "byte (part), number (regular bytes), number (asked bytes), number (reserved), number (object bytes), size (arena left bytes), number (possible), number (refill ms)",
    [24] = "byte (part), number (at), byte (reason)",
    [25] = "byte (option)",
    [26] = "number (value), number (least), number (most)",
    [27] = "number (port)",
    [28] = "number (msr)",
    [29] = "byte (feature)",
    [32] = "physical, number (len bytes)",
    [38] = "core",
    [39] = "byte (branch obstacle)",
    [40] = "number (has bytes), number (asked bytes)",
    [41] = "number (free bytes), number (asked bytes), number (free names)",
    [50] = "physical",
    [51] = "byte (obstacle)",
    [52] = "event",
}

local TRIGGERS = {
    [0] = "EptHook",
    [1] = "EptHook2",
    [2] = "Monitor",
    [3] = "Syscall, told by bytes",
    [4] = "Syscall, told by range",
    [5] = "Sysret, told by bytes",
    [6] = "Sysret, told by range",
    [7] = "Cpuid",
    [8] = "MsrRead",
    [9] = "MsrWrite",
    [10] = "IoIn",
    [11] = "IoOut",
    [12] = "Exception",
    [13] = "Interrupt",
    [14] = "Tsc",
    [15] = "Pmc",
    [16] = "Vmcall",
    [17] = "Dr",
    [18] = "CrWrite",
    [19] = "Xsetbv",
    [20] = "Mode",
    [21] = "Trace",
    [22] = "SyscallEntry",
}

local POOL_CLASSES = {
    [0] = "RegularEvent",
    [1] = "BigEvent",
    [2] = "RegularSafeBuffer",
    [3] = "BigSafeBuffer",
    [4] = "EptHook",
    [5] = "EptHook2",
    [6] = "Monitor",
    [7] = "ThreadInterception",
}

local FAILURES = {
    [0] = "Operations",
    [1] = "Depth",
    [2] = "Broken",
    [3] = "Instructions",
    [4] = "Exception",
    [5] = "Division",
    [6] = "Read",
    [7] = "Write",
    [8] = "Variable",
    [9] = "Register",
}

-- What is in an Input.
local INPUTS = {
    [0] = "Exit",
    [1] = "Page",
    [2] = "Unheard",
    [3] = "Fault",
    [4] = "Line",
    [5] = "Facts",
}

-- Bytes that stand for one of several.
local function in_order(words)
    local names, number = {}, 0
    for word in words:gmatch("[^ ]+") do
        names[number] = word
        number = number + 1
    end
    return names
end

local REGISTERS = in_order("rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15 rip rflags"
    .. " es cs ss ds fs gs cr0 cr2 cr3 cr4 cr8 dr0 dr1 dr2 dr3 dr6 dr7 fs.base gs.base kernel-gs.base efer"
    .. " gdtr.base gdtr.limit idtr.base idtr.limit ldtr tr")
local GENERAL = in_order("rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15")
local LIVE = in_order("cr2 cr8 dr0 dr1 dr2 dr3 dr6 kernel-gs.base tsc-deadline apic-base star lstar fmask")
local STANDINGS = in_order("Active Breakpoint Covered Replaced Unmapped Ended Crowded")
local CORE_STATES = in_order("halted waits-for-sipi missing offline died lost")
local CHANGES = in_order("enable disable clear")
local ORDERS = in_order("enable disable flush filter")
local CONDITIONS = in_order("always script code")
local STAGES = in_order("pre post all")
local CAUSES = in_order("break-in event core-died")
CAUSES[8] = "stepped"
CAUSES[9] = "occasion"
local OCCASIONS = in_order(
    "panic oops warning double-fault triple-fault restart power-off hung-task"
        .. " module-load module-unload task-create task-exit signal-death program int3 general-protection"
)
local TASK_STATES =
    in_order("running runnable sleeping uninterruptible stopped traced zombie dead parked idle other")
local TASK_SELECTIONS = in_order("processes threads threads-of process thread at on")
local TASK_ENDS = in_order("whole more loop cut unknown")
local STEP_ENDS = in_order("count asleep stuck untold limit arrived lost")
local STEP_DETAILS = in_order("addresses code registers")
local COUNTS = "sent_bytes received_bytes sent_frames repeated_frames received_frames broken_frames duplicate_frames"
    .. " gap_frames busy_frames discarded_messages break_ins sessions"
local BRANCHES_ON = in_order("off on")

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
    input = ProtoField.string("standstill.input", "Input"),
}

standstill.fields = {
    fields.crc, fields.number, fields.taken, fields.packet, fields.kind, fields.name, fields.id,
    fields.reply_in, fields.request_in, fields.text, fields.nonce, fields.value, fields.bytes,
    fields.form, fields.protocol, fields.program, fields.endpoint, fields.input,
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

-- Reads one field after the other and shows each. What is not there raises an error that names it.
local Cursor = {}
Cursor.__index = Cursor

function Cursor.new(buffer, tree)
    return setmetatable({ buffer = buffer, tree = tree, at = 0, previous = "the base" }, Cursor)
end

function Cursor:left()
    return self.buffer:len() - self.at
end

function Cursor:cut(label)
    error({ cut = label }, 0)
end

function Cursor:take(count, label)
    if count > self:left() then
        self:cut(label)
    end
    self.at = self.at + count
    return self.at - count
end

-- Shows what stands from there to here. A field of no bytes is not shown.
function Cursor:put(from, label, text)
    if self.at > from then
        self.tree:add(fields.value, self.buffer(from, self.at - from), label .. ": " .. text)
    end
end

-- LEB128.
function Cursor:leb128(label)
    local value, shift = UInt64(0, 0), 0
    while shift < 70 do
        local byte = self.buffer(self:take(1, label), 1):uint()
        value = value:bor(UInt64(byte % 128, 0):lshift(shift))
        if byte < 128 then
            return value
        end
        shift = shift + 7
    end
    self:cut(label)
end

local function is_odd(value)
    return value:band(1):lower() == 1
end

local function hex(value)
    return "0x" .. value:tohex(16):gsub("^0+(.)", "%1")
end

-- A distance that may be negative.
local function zigzag(value)
    local half = value:rshift(1)
    if is_odd(value) then
        return "-" .. hex(half + UInt64(1, 0))
    end
    return hex(half)
end

-- Whether bit `place` is set.
local function has_bit(value, place)
    return is_odd(value:rshift(place))
end

-- As Lua counts.
local function count_of(value)
    return math.floor(value:tonumber())
end

local function named(number, names)
    return names and names[number] or tostring(number)
end

function Cursor:byte(label, names)
    local from = self:take(1, label)
    local value = self.buffer(from, 1):uint()
    self:put(from, label, named(value, names))
    return value
end

function Cursor:num(label)
    local from = self.at
    local value = self:leb128(label)
    self:put(from, label, hex(value))
    return value
end

-- One more than its value, 0 for none.
function Cursor:optional(label)
    local from = self.at
    local value = self:leb128(label)
    local is_there = value ~= UInt64(0, 0)
    self:put(from, label, is_there and hex(value - UInt64(1, 0)) or "any")
end

function Cursor:signed(label)
    local from = self.at
    self:put(from, label, zigzag(self:leb128(label)))
end

-- In a list it has the one before it as its base.
function Cursor:addr(label)
    local from = self.at
    local distance = zigzag(self:leb128(label))
    self:put(from, label, distance .. " from " .. self.previous)
end

function Cursor:size(label)
    local from = self.at
    local first = self:leb128(label)
    local bytes
    if is_odd(first) then
        local pages, low = self:leb128(label), first:rshift(1)
        local swapped = low:rshift(6):bor(low:band(63):lshift(6))
        bytes = pages:lshift(12):bor(swapped)
    else
        bytes = first:rshift(1):lshift(12)
    end
    self:put(from, label, hex(bytes))
end

function Cursor:fixed(count, label)
    local from = self:take(count, label)
    local range = self.buffer(from, count)
    local text = count == 8 and hex(range:le_uint64()) or count <= 4 and string.format("0x%x", range:le_uint())
    self:put(from, label, text or tostring(range:bytes()))
    return range
end

function Cursor:bytes(count, label)
    local from = self:take(count, label)
    self:put(from, label, count .. " bytes")
    return count > 0 and self.buffer(from, count) or nil
end

function Cursor:run(label)
    local from = self.at
    local count = count_of(self:leb128(label))
    self:take(count, label)
    self:put(from, label, count .. " bytes")
end

function Cursor:rest(label)
    return self:bytes(self:left(), label)
end

-- What `read` shows stands below a line of its own.
function Cursor:group(label, read)
    local from, above = self.at, self.tree
    if self:left() == 0 then
        return read()
    end
    self.tree = above:add(fields.value, self.buffer(from, 1), label)
    read()
    self.tree:set_len(math.max(self.at - from, 1))
    self.tree = above
end

function Cursor:items(count, label, read)
    local before = self.previous
    for number = 0, count - 1 do
        if self:left() == 0 then
            self:cut(label)
        end
        self:group(string.format("%s[%d]", label, number), read)
    end
    self.previous = before
end

function Cursor:list(label, read)
    self:group(label, function()
        local count = count_of(self:num("count"))
        self:items(count, label, read)
    end)
end

-- Core and flags, then an address; the flags say whether a digest follows later.
function Cursor:place()
    local from = self.at
    local head = self:leb128("place")
    local flags = head:band(3):lower()
    local text
    if flags % 2 == 1 and count_of(head:rshift(2)) == 1 then
        local page = hex(self:leb128("place"))
        text = "tables at page " .. page .. ", " .. zigzag(self:leb128("place")) .. " from the base"
    elseif flags % 2 == 1 then
        text = "physical " .. hex(self:leb128("place"))
    else
        text = "core " .. count_of(head:rshift(2)) .. ", " .. zigzag(self:leb128("place")) .. " from the base"
    end
    self:put(from, "place", text)
    return flags >= 2
end

-- Of a form that the document of the wire format names: `number (pid)`, `core`.
function Cursor:formed(form)
    local kind, label = form:match("^(%w+) %((.*)%)$")
    kind, label = kind or form, label or form
    if kind == "byte" then
        local names = label == "class" and POOL_CLASSES or label == "register" and REGISTERS or nil
        self:byte(label, names)
    elseif kind == "size" then
        self:size(label)
    elseif kind == "address" then
        self:addr(label)
    else
        self:num(label)
    end
end

function Cursor:refusal()
    local number = self:byte("refusal", REFUSALS)
    local forms = REFUSAL_FIELDS[number]
    if forms then
        for form in (forms .. ", "):gmatch("(.-), ") do
            self:formed(form)
        end
    elseif not REFUSALS[number] then
        self:rest("fields")
    end
end

function Cursor:failure()
    self:num("at")
    self:byte("cause", FAILURES)
    self:num("detail")
end

-- An access, then an address of either kind.
local function monitored(c)
    local access = c:byte("access")
    if access >= 8 then
        c:num("physical")
    else
        c:addr("address")
        c.previous = "the one before"
    end
    c:num("length")
end

local function hooked(c)
    c:addr("address")
    c.previous = "the one before"
end

local function one(label)
    return function(c)
        c:optional(label)
    end
end

-- By number of the trigger.
local PARAMETERS = {
    [0] = hooked,
    [1] = hooked,
    [2] = monitored,
    [3] = one("rax"),
    [4] = one("rax"),
    [7] = one("leaf"),
    [8] = one("msr"),
    [9] = one("msr"),
    [10] = one("port"),
    [11] = one("port"),
    [12] = one("vector"),
    [13] = function(c)
        c:byte("vector")
    end,
    [18] = function(c)
        c:byte("register")
        c:num("inverted mask")
    end,
    [19] = one("xcr"),
    [20] = function(c)
        c:byte("to")
    end,
    [21] = function(c)
        c:byte("kind")
    end,
    [22] = one("rax"),
}

-- An event without its programs; which of these there are.
function Cursor:settings()
    local from = self:take(1, "trigger")
    local head = self.buffer(from, 1):uint()
    local number = head % 32
    if not TRIGGERS[number] then
        self:cut("trigger")
    end
    self:put(from, "trigger", TRIGGERS[number])
    local options, actions = 0, 1
    if head >= 128 then
        options = self:byte("options")
        actions = self:byte("actions")
    end
    local parameters = PARAMETERS[number]
    if parameters then
        parameters(self)
    end
    if head % 64 >= 32 then
        self:num("process")
    end
    if options >= 128 then
        self:num("thread")
    end
    if head % 128 >= 64 then
        self:num("core")
    end
    if options % 128 >= 64 then
        self:num("first pass * 4 + lifetime")
    end
    if options % 32 >= 16 then
        self:num("bytes of the buffer")
    end
    if options % 64 >= 32 then
        self:byte("bytes before the hook")
    end
    local programs = {}
    if actions >= 8 then
        programs[1] = "condition (" .. named(math.floor(actions / 8), CONDITIONS) .. ")"
    end
    if actions % 8 >= 4 then
        programs[#programs + 1] = "script"
    end
    if actions % 4 >= 2 then
        programs[#programs + 1] = "code"
    end
    return programs
end

function Cursor:event()
    for _, program in ipairs(self:settings()) do
        self:run(program)
    end
end

function Cursor:entry()
    self:num("event * 2 + enabled")
    local programs = self:settings()
    for _, program in ipairs(programs) do
        self:num("bytes of the " .. program)
    end
    if #programs > 0 then
        self:fixed(4, "checksum")
    end
    self:byte("standing", STANDINGS)
    self:num("hits")
end

-- After a change of events.
function Cursor:after()
    local concerned = self:byte("classes")
    for class = 0, 7 do
        if math.floor(concerned / 2 ^ class) % 2 == 1 then
            self:num("free of " .. POOL_CLASSES[class])
        end
    end
    self:fixed(2, "digest")
end

function Cursor:stop()
    local from = self:take(1, "cause")
    local flags = self.buffer(from, 1):uint()
    local cause = flags % 16
    self:put(from, "cause", named(cause, CAUSES))
    if cause == 1 then
        self:num("event")
    elseif cause == 2 then
        self:num("exit reason")
        self:num("detail")
    elseif cause == 8 then
        self:byte("end", STEP_ENDS)
    elseif cause == 9 then
        self:byte("occasion", OCCASIONS)
        self:addr("place")
        self:num("number")
        self:run("text")
    end
    self:num("halts")
    self:num("core")
    self:addr("rip")
    self:run("code")
    if flags % 32 >= 16 then
        self:num("missing cores")
    end
    if flags % 64 >= 32 then
        self:list("hits", function()
            self:num("event")
            self:num("hits")
        end)
    end
    if flags % 128 >= 64 then
        self:num("process")
        self:signed("thread, from the process")
        self:run("name")
        self:num("set of changed registers * 2 + known")
    end
end

-- At what the debuggee halts by itself.
function Cursor:rules()
    self:list("rules", function()
        self:byte("occasion", OCCASIONS)
        self:byte("halts")
        self:run("name")
    end)
end

-- A process or a thread.
function Cursor:task()
    local from = self:take(1, "state")
    local head = self.buffer(from, 1):uint()
    self:put(from, "state", named(head % 64, TASK_STATES))
    self:signed("structure from " .. (self.previous or "the base"))
    self.previous = "the one before"
    self:num("process")
    self:signed("thread, from the process")
    self:num("parent")
    self:num("core")
    self:num("page of its tables")
    if head % 128 >= 64 then
        self:signed("saved registers, from the structure")
    end
    self:run("name")
    self:run("command line")
end

-- Where a core stood after each of several instructions.
function Cursor:steps()
    self:list("steps", function()
        local from = self:take(1, "distance")
        local head = self.buffer(from, 1):uint()
        if head % 64 == 0 then
            self:addr("rip")
        else
            self:put(from, "bytes behind " .. (self.previous or "the base"), head % 64)
        end
        self.previous = "the one before"
        if head % 128 >= 64 then
            self:run("code")
        end
        if head >= 128 then
            self:registers()
        end
    end)
end

-- What a program printed, or what became of it.
function Cursor:record()
    local from = self.at
    local source = self:leb128("source")
    local number = count_of(source:rshift(1))
    self:put(from, "source", number == 0 and "a request" or "event " .. number - 1)
    if is_odd(source) then
        self:num("lost before it")
    end
    self:num("ticks since")
    from = self.at
    local head = self:leb128("content")
    local kind, value = head:band(3):lower(), head:rshift(2)
    if kind == 0 then
        self:put(from, "print at", hex(value))
        local shape, count = self:num("shape of its arguments"), 0
        for place = 0, 31 do
            if has_bit(shape, place) then
                count = place
            end
        end
        for place = 0, count - 1 do
            if has_bit(shape, place) then
                self:run("argument")
            else
                self:signed("argument")
            end
        end
    elseif kind == 1 then
        self:put(from, "traced", count_of(value) .. " bytes")
        self:bytes(count_of(value), "code")
        self:signed("rip")
    elseif kind == 2 then
        self:put(from, "failure at", hex(value))
        self:byte("cause", FAILURES)
        self:num("detail")
    else
        self:put(from, "standing", named(count_of(value), STANDINGS))
    end
end

-- A value of so few bytes as give it back by extending its sign.
function Cursor:short_value(count, label)
    local from = self:take(count, label)
    if count == 0 then
        self.tree:add(fields.value, label .. ": 0x0")
        return
    end
    local is_negative = self.buffer(from + count - 1, 1):uint() >= 128
    local value = UInt64(0, 0)
    if is_negative and count < 8 then
        value = UInt64(0xffffffff, 0xffffffff):lshift(8 * count)
    end
    for place = 0, count - 1 do
        local byte = UInt64(self.buffer(from + place, 1):uint(), 0)
        value = value:bor(byte:lshift(8 * place))
    end
    self:put(from, label, hex(value))
end

-- Which registers, and their values: a nibble with each one's length, then the values.
function Cursor:registers()
    local set, asked = self:set(), {}
    for place = 0, 63 do
        if has_bit(set, place) then
            asked[#asked + 1] = place
        end
    end
    local lengths = self:take(math.ceil(#asked / 2), "lengths")
    for index, register in ipairs(asked) do
        local pair = self.buffer(lengths + math.floor((index - 1) / 2), 1):uint()
        local count = index % 2 == 1 and pair % 16 or math.floor(pair / 16)
        local name = named(register, REGISTERS)
        self:short_value(count, name)
    end
end

function Cursor:set()
    local from = self.at
    local set, names = self:leb128("set"), {}
    for place = 0, 63 do
        if has_bit(set, place) then
            names[#names + 1] = named(place, REGISTERS)
        end
    end
    self:put(from, "set", table.concat(names, " "))
    return set
end

-- What stands in a message's body. A message that is not here has none.
local REQUEST_BODIES = {
    Hello = function(c)
        if count_of(c:num("version")) == 3 then
            c:num("features")
        else
            c:rest("of that version")
        end
    end,
    ShortCircuit = function(c)
        c:byte("on")
    end,
    Step = function(c)
        c:num("core")
        c:num("count")
        local from = c:take(1, "told")
        local flags = c.buffer(from, 1):uint()
        c:put(from, "told", named(flags % 4, STEP_DETAILS))
        if flags % 8 >= 4 and math.floor(flags / 16) % 8 == 4 then
            c:addr("to")
        end
    end,
    ReadRegisters = function(c)
        c:num("core")
        c:set()
    end,
    WriteRegister = function(c)
        c:num("core")
        c:byte("register", REGISTERS)
        c:short_value(math.min(c:left(), 8), "value")
    end,
    ReadMemory = function(c)
        local has_digest = c:place()
        c:num("length")
        if has_digest then
            c:fixed(16, "expected digest")
        end
    end,
    WriteMemory = function(c)
        c:place()
        c:rest("bytes")
    end,
    Translate = function(c)
        local core = count_of(c:num("core"))
        if core >= 65536 then
            c:num("page of its tables")
        end
        c:addr("address")
    end,
    ListTasks = function(c)
        local which = c:byte("which", TASK_SELECTIONS)
        if which == 5 then
            c:addr("structure")
        elseif which >= 2 then
            c:num("number")
        end
        c:num("tasks left out")
    end,
    Occasions = function(c)
        c:rules()
    end,
    DigestMemory = function(c)
        c:size("physical address")
        c:size("length")
    end,
    AddEvents = function(c)
        c:num("core")
        local head = c:num("count * 2 + all or nothing")
        c:items(count_of(head:rshift(1)), "event", function()
            c:event()
        end)
    end,
    ChangeEvents = function(c)
        local from = c:take(1, "change")
        local change = c.buffer(from, 1):uint()
        c:put(from, "change", named(change % 16, CHANGES))
        if change % 32 >= 16 then
            c:num("event")
        end
    end,
    ListEvents = function(c)
        c:num("lowest event")
    end,
    EventPrograms = function(c)
        c:num("event")
    end,
    Prealloc = function(c)
        c:byte("class", POOL_CLASSES)
        c:num("count")
    end,
    DefineGlobals = function(c)
        c:list("names", function()
            c:fixed(8, "hash")
            c:num("bytes")
        end)
    end,
    RunScript = function(c)
        c:num("core")
        c:run("program")
    end,
    ChangeBranches = function(c)
        c:byte("order", ORDERS)
        c:num("filter")
    end,
    ReadBranches = function(c)
        c:num("core")
    end,
}

local function linux(c)
    c:addr("modules")
    for label in ("list name base size kallsyms symtab count strtab"):gmatch("%a+") do
        c:num(label)
    end
    c:addr("first task")
    for label in ("tasks tgid comm"):gmatch("%a+") do
        c:num(label)
    end
    c:addr("BPF programs")
    for label in ("lnode start end name"):gmatch("%a+") do
        c:num(label)
    end
end

local REPLY_BODIES = {
    Hello = function(c)
        if count_of(c:num("version")) ~= 3 then
            return c:rest("of that version")
        end
        c:num("features")
        c:fixed(8, "session")
        if c:byte("key") == 1 then
            c:bytes(16, "key of digests")
        end
        c:num("cores")
        c:signed("kernel base")
        c:signed("direct map")
        c:addr("driver")
        c:size("driver's length")
        c:num("ticks in a millisecond")
        local system = c:byte("system")
        local length = count_of(c:num("length of its layout"))
        local behind = c.at + length
        if system == 1 then
            c:group("Linux", function()
                linux(c)
            end)
        else
            c:bytes(length, "layout")
        end
        if c.at ~= behind then
            c:cut("layout")
        end
        c:size("arena")
        c:size("for prealloc only")
        c:byte("time is hidden")
        c:num("polls a second")
        c:run("banner")
        c:list("RAM", function()
            c:size("start")
            c:size("length")
        end)
        if c:byte("halted") == 1 then
            c:group("stop", function()
                c:stop()
            end)
        end
    end,
    Refused = function(c)
        c:refusal()
    end,
    Tasks = function(c)
        c:byte("end", TASK_ENDS)
        c:signed("where it is damaged")
        c:list("tasks", function()
            c:task()
        end)
    end,
    Occasions = function(c)
        c:rules()
    end,
    Cores = function(c)
        c:list("cores", function()
            local state = c:byte("state", CORE_STATES)
            if state == 0 or state == 4 then
                c:addr("rip")
                c.previous = "the one before"
            end
        end)
    end,
    Stepped = function(c)
        c:stop()
        c:num("count")
        c:registers()
        c:steps()
    end,
    Registers = function(c)
        c:registers()
    end,
    Memory = function(c)
        c:num("length * 2 + packed + packing * 65536")
        c:rest("content")
    end,
    Physical = function(c)
        c:byte("page bits")
        c:num("physical address")
    end,
    Digest = function(c)
        c:fixed(8, "digest")
    end,
    EventsAdded = function(c)
        c:list("results", function()
            local from = c.at
            local head = c:leb128("result")
            if is_odd(head) then
                c:refusal()
            else
                c:put(from, "event", hex(head:rshift(1)))
            end
        end)
        c:after()
    end,
    EventsChanged = function(c)
        c:num("count")
        c:after()
    end,
    Events = function(c)
        c:list("events", function()
            c:entry()
        end)
    end,
    EventPrograms = function(c)
        c:byte("condition is", CONDITIONS)
        c:run("condition")
        c:run("script")
        c:run("code")
    end,
    Carved = function(c)
        if is_odd(c:num("ready * 2 + queued are there")) then
            c:num("queued")
        end
        c:num("free")
        c:size("arena left")
    end,
    Pools = function(c)
        c:list("pools", function()
            c:byte("class", POOL_CLASSES)
            c:num("bytes of an object")
            c:num("reserved")
            c:num("in use")
        end)
        c:size("arena carved")
        c:size("arena left")
    end,
    GlobalsDefined = function(c)
        c:list("offsets", function()
            c:num("offset")
        end)
    end,
    ScriptRan = function(c)
        local failed = c:byte("failed")
        c:signed("value")
        if failed == 1 then
            c:failure()
        end
    end,
    MessageCounts = function(c)
        for label in ("produced delivered dropped flushed waiting told"):gmatch("%a+") do
            c:num(label)
        end
        if c:left() > 0 then
            local network = "foreign truncated reflected wrong_key forged replayed older_clock unknown_session "
                .. "sessions rebuilt card_resets heard_ms_ago_plus_1"
            for label in network:gmatch("[%w_]+") do
                c:num(label)
            end
        end
    end,
    Branches = function(c)
        c:byte("recording is", BRANCHES_ON)
        c:list("branches", function()
            c:addr("from")
            c.previous = "the one before"
            c:signed("to, since from")
            c:num("notes")
        end)
    end,
}

local NOTICE_BODIES = {
    Stopped = function(c)
        c:stop()
    end,
    Fault = function(c)
        c:num("core")
        c:num("vector")
        c:addr("rip")
        c:num("detail")
    end,
    Messages = function(c)
        c:num("core")
        local number = 0
        while c:left() > 0 do
            c:group(string.format("record[%d]", number), function()
                c:record()
            end)
            number = number + 1
        end
    end,
    Steps = function(c)
        c:steps()
    end,
}

-- Shows what `read` reads of all of a buffer.
local function read_all(buffer, tree, read)
    local cursor = Cursor.new(buffer, tree)
    local is_good, why = pcall(read, cursor)
    if not is_good and type(why) == "table" then
        tree:add_proto_expert_info(malformed, why.cut .. " is cut")
    elseif not is_good then
        error(why, 0)
    elseif cursor:left() > 0 then
        tree:add_proto_expert_info(malformed, cursor:left() .. " bytes too many")
    end
end

local function nothing() end

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
        read_all(buffer(from):tvb(), tree, bodies[name] or nothing)
        tree:add(fields.bytes, buffer(from))
    elseif bodies[name] then
        tree:add_proto_expert_info(malformed, "the body is missing")
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

-- A message of the debuggee's.
local function said(buffer, pinfo, tree)
    if buffer:len() > 0 and buffer(0, 1):uint() >= 0x80 then
        return message(buffer, pinfo, tree, NOTICES, NOTICE_BODIES, true)
    end
    return message(buffer, pinfo, tree, REPLIES, REPLY_BODIES, true)
end

-- A value of a core's, which an exit has changed.
local function change(c)
    local kind = c.buffer(c:take(1, "change"), 1):uint()
    local number = c.buffer(c:take(4, "change"), 4):le_uint()
    local value = c.buffer(c:take(8, "change"), 8):le_uint64()
    local name = string.format("VMCS field 0x%04x", number)
    if kind == 1 then
        name = named(number, GENERAL)
    elseif kind == 2 then
        name = named(number, LIVE)
    elseif kind == 3 then
        name = string.format("MSR 0x%x", number)
    end
    c:put(c.at - 13, name, hex(value))
end

local function memory(c)
    c:fixed(8, "address")
    c:rest("content")
end

local INPUT_BODIES = {
    Exit = function(c)
        c:fixed(2, "core")
        while c:left() > 0 do
            change(c)
        end
    end,
    Page = memory,
    Line = memory,
    Fault = function(c)
        c:fixed(2, "core")
        c:fixed(2, "vector")
        c:fixed(8, "rip")
        c:fixed(8, "detail")
    end,
    Facts = function(c)
        c:rest("of the platform")
    end,
}

-- What the driver's core took in; what stands in the list of packets about it.
local function input(buffer, pinfo, tree)
    local number = buffer(0, 1):uint()
    local name = INPUTS[number]
    if not name then
        tree:add_proto_expert_info(unknown)
        return "Input " .. number
    end
    tree:add(fields.input, buffer(0, 1), name)
    local content = buffer:len() > 1 and buffer(1):tvb() or nil
    if not content then
        tree:add_proto_expert_info(malformed, "what the core took in is cut")
    elseif name == "Unheard" then
        return "Input Unheard " .. said(content, pinfo, tree)
    else
        read_all(content, tree, INPUT_BODIES[name])
    end
    if content and name == "Exit" and content:len() >= 2 then
        return string.format("Input Exit of core %d", content(0, 2):le_uint())
    elseif content and (name == "Page" or name == "Line") and content:len() >= 8 then
        return "Input " .. name .. " " .. hex(content(0, 8):le_uint64())
    end
    return "Input " .. name
end

-- Bytes of a text with its length before it.
function Cursor:text(label)
    local from = self.at
    local count = self.buffer(self:take(2, label), 2):le_uint()
    self:take(count, label)
    self:put(from, label, count > 0 and self.buffer(from + 2, count):string() or "")
end

function Cursor:optional_text(label)
    if self.buffer(self:take(1, label), 1):uint() == 1 then
        self:text(label)
    end
end

-- Packets that are no messages, and show no text.
local PACKET_BODIES = {
    Unsent = function(c)
        c:byte("request")
        c:byte("why", in_order("not-connected no-room too-long"))
        c:fixed(8, "wanted, or the limit")
        c:fixed(8, "free, or wanted")
    end,
    Reopened = function(c)
        c:optional_text("why it was gone")
    end,
    Counts = function(c)
        for label in COUNTS:gmatch("[^ ]+") do
            c:fixed(8, label)
        end
        c:optional_text("why it is not open")
        -- Eight bytes, then 64, each if they are there.
        if c:left() % 64 == 8 then
            c:fixed(4, "rate")
            c:fixed(4, "lowest rate that failed")
        end
        while c:left() > 0 do
            c:fixed(8, "dropped")
        end
    end,
    OtherHost = function(c)
        c:byte("no session came about")
        c:fixed(4, "seconds")
    end,
}

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
        text = said(content, pinfo, whole)
    elseif name == "Input" and content then
        text = input(content, pinfo, whole)
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
    elseif content and PACKET_BODIES[name] then
        read_all(content, whole, PACKET_BODIES[name])
    elseif content then
        whole:add(fields.bytes, content())
    end
    pinfo.cols.info = text
    return buffer:len()
end

-- The first of the link types that are left to users.
DissectorTable.get("wtap_encap"):add(wtap.USER0, standstill)
