//! What the driver answers.

use super::*;

fn branch() -> BoxedStrategy<Branch> {
    (number(), number(), number32())
        .prop_map(|(from, to, bits)| Branch {
            from,
            to,
            notes: Notes::from_bits(bits),
        })
        .boxed()
}

fn extent<A: Address + std::fmt::Debug + 'static>() -> BoxedStrategy<Extent<A>> {
    (number(), size())
        .prop_filter_map("no address behind the last", |(start, len_bytes)| {
            Extent::new(A::from_number(start), len_bytes)
        })
        .boxed()
}

/// A start whose low bits are zero, as most are.
fn range() -> BoxedStrategy<Extent<GuestPhysical>> {
    (size(), size())
        .prop_filter_map("no address behind the last", |(start, len_bytes)| {
            Extent::new(GuestPhysical(start), len_bytes)
        })
        .boxed()
}

fn system() -> BoxedStrategy<GuestSystem<'static>> {
    let unknown = (2..=u8::MAX, vec(any::<u8>(), 0..limits::SYSTEM_BYTES));
    prop_oneof![
        linux().prop_map(GuestSystem::Linux),
        unknown.prop_map(|(tag, layout)| GuestSystem::Unknown {
            tag,
            layout: layout.leak(),
        }),
    ]
    .boxed()
}

fn linux() -> BoxedStrategy<LinuxLayout> {
    (vec(address(), 3), vec(number32(), 15))
        .prop_map(|(starts, at)| LinuxLayout {
            list_head: starts[0],
            list: at[0],
            name: at[1],
            base: at[2],
            size: at[3],
            kallsyms: at[4],
            kallsyms_symtab: at[5],
            kallsyms_count: at[6],
            kallsyms_strtab: at[7],
            init_task: starts[1],
            task_tasks: at[8],
            task_tgid: at[9],
            task_comm: at[10],
            bpf_head: starts[2],
            bpf_list: at[11],
            bpf_start: at[12],
            bpf_end: at[13],
            bpf_name: at[14],
        })
        .boxed()
}

fn constants() -> BoxedStrategy<Constants> {
    (size(), size(), any::<bool>(), number32())
        .prop_map(
            |(arena_bytes, prealloc_only_bytes, hide_time, poll_hz)| Constants {
                arena_bytes,
                prealloc_only_bytes,
                hide_time,
                poll_hz,
            },
        )
        .boxed()
}

fn hello() -> BoxedStrategy<Hello<'static>> {
    guest_virtual()
        .prop_flat_map(|kernel_base| {
            let machine = (
                items(range(), limits::RAM_RANGES),
                option::of(stop(kernel_base)),
            );
            let key = option::of(any::<[u8; DigestKey::BYTES]>());
            let numbers = (key, features(), any::<u64>(), number16(), number32());
            let places = (guest_virtual(), extent());
            (
                numbers,
                places,
                system(),
                constants(),
                "\\PC{0,40}",
                machine,
            )
                .prop_map(
                    move |(numbers, places, system, constants, banner, (ram, stop))| Hello {
                        key: numbers.0.map(DigestKey),
                        features: numbers.1,
                        session: numbers.2,
                        cores: numbers.3,
                        tsc_khz: numbers.4,
                        kernel_base,
                        direct_map_base: places.0,
                        driver_image: places.1,
                        system,
                        constants,
                        banner: banner.leak(),
                        ram: list(&ram, kernel_base),
                        stop,
                    },
                )
        })
        .boxed()
}

fn free() -> BoxedStrategy<FreeCounts> {
    vec((class(), number32()), 0..8)
        .prop_map(|counts| {
            let none = FreeCounts::default();
            counts
                .into_iter()
                .fold(none, |free, (class, count)| free.with(class, count))
        })
        .boxed()
}

fn registers() -> BoxedStrategy<Reply<'static>> {
    (register_set(), any::<[u64; 64]>(), any::<[u8; 64]>())
        .prop_map(|(set, bits, shifts)| {
            let values = bits.iter().zip(shifts).map(|(bits, shift)| {
                let cut = *bits as i64 >> (shift % 64);
                cut as u64
            });
            let values = values.take(set.len());
            let values = RegisterValues::encode_into(values, forever(512)).expect("enough");
            Reply::Registers { set, values }
        })
        .boxed()
}

fn core_state() -> BoxedStrategy<CoreState> {
    prop_oneof![
        guest_virtual().prop_map(|rip| CoreState::Halted { rip }),
        Just(CoreState::WaitForSipi),
        Just(CoreState::Missing),
        Just(CoreState::Offline),
        guest_virtual().prop_map(|rip| CoreState::Died { rip }),
        Just(CoreState::Lost)
    ]
    .boxed()
}

fn pool_line() -> BoxedStrategy<PoolLine> {
    (class(), number32(), number32(), number32())
        .prop_map(|(class, object_bytes, reserved, in_use)| PoolLine {
            class,
            object_bytes,
            reserved,
            in_use,
        })
        .boxed()
}

fn task() -> BoxedStrategy<Task<'static>> {
    let numbers = (number32(), number32(), number32(), core());
    let places = (guest_virtual(), root(), any::<bool>(), guest_virtual());
    let state = proptest::sample::select(TaskState::ALL.as_slice());
    let command = vec(any::<u8>(), 0..=limits::TASK_COMMAND_BYTES);
    (numbers, places, state, task_name(), command)
        .prop_map(|(numbers, places, state, name, command)| Task {
            pid: numbers.0,
            tid: numbers.1,
            parent: numbers.2,
            core: numbers.3,
            address: places.0,
            root: places.1,
            has_memory: places.2,
            saved_at: places.3,
            state,
            name,
            command: command.leak(),
        })
        .boxed()
}

fn tasks(base: GuestVirtual) -> BoxedStrategy<Reply<'static>> {
    let end = proptest::sample::select(TasksEnd::ALL.as_slice());
    (end, guest_virtual(), items(task(), limits::TASKS_PER_REPLY))
        .prop_map(move |(end, at, tasks)| {
            Reply::Tasks(FoundTasks {
                end,
                at,
                tasks: list(&tasks, base),
            })
        })
        .boxed()
}

pub fn reply(base: GuestVirtual) -> BoxedStrategy<Reply<'static>> {
    let result = prop_oneof![event_id().prop_map(Ok), refusal().prop_map(Err)];
    let system = prop_oneof![
        hello().prop_map(Reply::Hello),
        foreign().prop_map(|(version, body)| Reply::ForeignHello { version, body }),
        Just(Reply::Done),
        refusal().prop_map(Reply::Refused),
        items(core_state(), limits::CORES)
            .prop_map(move |states| Reply::Cores(list(&states, base))),
        registers(),
        tasks(base),
        occasion_rules(base).prop_map(Reply::Occasions),
    ];
    let memory = prop_oneof![
        content().prop_map(|bytes| Reply::Memory {
            len_bytes: bytes.len() as u32,
            packing: None,
            bytes,
        }),
        (content(), 1u32..1000, any::<bool>()).prop_map(|(bytes, gain, is_quick)| {
            let packing = if is_quick {
                Packing::Quick
            } else {
                Packing::Model
            };
            Reply::Memory {
                len_bytes: bytes.len() as u32 + gain,
                packing: Some(packing),
                bytes,
            }
        }),
        (content(), 2u32..1000).prop_map(|(bytes, len_bytes)| Reply::Memory {
            len_bytes,
            packing: Some(Packing::Repeated),
            bytes: &bytes[..1],
        }),
        Just(Reply::MemoryAsExpected),
        (guest_physical(), 0u32..64).prop_map(|(address, shift)| Reply::Physical {
            address,
            page_bytes: 1 << shift,
        }),
        any::<u64>().prop_map(Reply::Digest),
        (any::<bool>(), items(branch(), BRANCHES_MAX)).prop_map(move |(is_on, branches)| {
            Reply::Branches {
                is_on,
                branches: list(&branches, base),
            }
        }),
    ];
    let event = prop_oneof![
        (
            items(result, limits::EVENTS_PER_REQUEST),
            free(),
            any::<u16>()
        )
            .prop_map(move |(results, free, digest)| Reply::EventsAdded {
                results: list(&results, base),
                free,
                digest,
            }),
        (number32(), free(), any::<u16>()).prop_map(|(count, free, digest)| {
            Reply::EventsChanged {
                count,
                free,
                digest,
            }
        }),
        items(entry(), limits::EVENTS_PER_REPLY)
            .prop_map(move |entries| Reply::Events(list(&entries, base))),
    ];
    let pool = prop_oneof![
        (
            number32(),
            prop_oneof![Just(0), number32()],
            number32(),
            size()
        )
            .prop_map(|(ready, queued, free, arena_left_bytes)| Reply::Carved {
                ready,
                queued,
                free,
                arena_left_bytes,
            }),
        (items(pool_line(), PoolClass::ALL.len()), size(), size()).prop_map(
            move |(lines, arena_carved_bytes, arena_left_bytes)| Reply::Pools {
                lines: list(&lines, base),
                arena_carved_bytes,
                arena_left_bytes,
            }
        ),
    ];
    let programs = (option::of((content(), any::<bool>())), content(), content());
    let script = prop_oneof![
        programs.prop_map(|(condition, script, code)| Reply::EventPrograms(Programs {
            condition: match condition {
                None => Condition::Always,
                Some((bytes, true)) => Condition::Script(bytes),
                Some((bytes, false)) => Condition::Code(bytes),
            },
            script,
            code,
        })),
        items(
            number32().prop_map(GlobalOffset),
            limits::GLOBALS_PER_REQUEST
        )
        .prop_map(move |offsets| Reply::GlobalsDefined(list(&offsets, base))),
        (address(), option::of(failure()))
            .prop_map(|(value, failure)| Reply::ScriptRan { value, failure }),
        (vec(number(), 6), option::of(network_counts())).prop_map(|(counts, network)| {
            Reply::MessageCounts(MessageCounts {
                produced: counts[0],
                delivered: counts[1],
                dropped: counts[2],
                flushed: counts[3],
                waiting: counts[4],
                told: counts[5],
                network,
            })
        }),
    ];
    prop_oneof![system, memory, event, pool, script].boxed()
}

fn network_counts() -> BoxedStrategy<NetworkCounts> {
    let dropped = proptest::array::uniform8(0_u64..1 << 40).prop_map(Dropped::from_counts);
    let heard_ms_ago = option::of(0_u64..1 << 60);
    (dropped, number(), number(), number(), heard_ms_ago)
        .prop_map(
            |(dropped, sessions, rebuilt, card_resets, heard_ms_ago)| NetworkCounts {
                dropped,
                sessions,
                rebuilt,
                card_resets,
                heard_ms_ago,
            },
        )
        .boxed()
}
