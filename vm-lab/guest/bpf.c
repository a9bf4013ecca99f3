// lab-bpf: BPF code of the kernel that comes and goes. What is loaded stays as long as its name in /sys/fs/bpf.
//
//   load PATH FORM        a program that gives 11 for every packet, of one code (FORM 1) or of another one of the same length (2)
//   attach PATH FUNCTION  a program that runs at each call of a function of the kernel; PATH-link holds it there
//   runs PATH             prints "runs N": how often the program ran, while the kernel counts that
//   name PATH             prints its address, and what the kernel calls it
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GIVES 11
#define INSTRUCTIONS 60

static long bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static int pin(const char *path, int what)
{
	union bpf_attr attr = { .pathname = (uintptr_t)path, .bpf_fd = what };

	return bpf(BPF_OBJ_PIN, &attr) != 0;
}

static int load(union bpf_attr *attr, const struct bpf_insn *code, int count)
{
	static char log[1 << 16];

	attr->insns = (uintptr_t)code;
	attr->insn_cnt = count;
	attr->license = (uintptr_t)"GPL";
	attr->log_buf = (uintptr_t)log;
	attr->log_size = sizeof(log);
	attr->log_level = 1;
	strcpy(attr->prog_name, "lab");
	int program = bpf(BPF_PROG_LOAD, attr);
	if (program < 0)
		fprintf(stderr, "%s\n", log);
	return program;
}

static int load_filter(const char *path, int form)
{
	union bpf_attr attr = { .prog_type = BPF_PROG_TYPE_SOCKET_FILTER };
	struct bpf_insn code[INSTRUCTIONS + 1] = { 0 };

	for (int i = 0; i < INSTRUCTIONS; i++)
		code[i] = (struct bpf_insn) { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = GIVES };
	// Ten bytes of machine code instead of twice five.
	if (form == 2) {
		code[0] = (struct bpf_insn) { .code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = BPF_REG_2, .imm = 0x55667788 };
		code[1] = (struct bpf_insn) { .imm = 0x11223344 };
	}
	code[INSTRUCTIONS].code = BPF_JMP | BPF_EXIT;
	int program = load(&attr, code, INSTRUCTIONS + 1);
	return program < 0 || pin(path, program);
}

// The number of a function in the kernel's own description of its types.
static uint32_t type_of_function(const char *name)
{
	static uint8_t all[16 << 20];
	const struct btf_header *header = (void *)all;
	int file = open("/sys/kernel/btf/vmlinux", O_RDONLY);
	ssize_t part, len = 0;

	while ((part = read(file, all + len, sizeof(all) - len)) > 0)
		len += part;
	close(file);
	if (len < (ssize_t)sizeof(*header) || header->magic != BTF_MAGIC)
		return 0;
	const uint8_t *at = all + header->hdr_len + header->type_off, *end = at + header->type_len;
	const char *names = (char *)all + header->hdr_len + header->str_off;
	for (uint32_t number = 1; at < end; number++) {
		const struct btf_type *type = (void *)at;
		uint32_t count = BTF_INFO_VLEN(type->info);

		at += sizeof(*type);
		switch (BTF_INFO_KIND(type->info)) {
		case BTF_KIND_FUNC:
			if (!strcmp(names + type->name_off, name))
				return number;
			break;
		case BTF_KIND_INT:
		case BTF_KIND_VAR:
		case BTF_KIND_DECL_TAG:
			at += 4;
			break;
		case BTF_KIND_ARRAY:
			at += sizeof(struct btf_array);
			break;
		case BTF_KIND_STRUCT:
		case BTF_KIND_UNION:
		case BTF_KIND_DATASEC:
		case BTF_KIND_ENUM64:
			at += 12 * count;
			break;
		case BTF_KIND_ENUM:
		case BTF_KIND_FUNC_PROTO:
			at += 8 * count;
			break;
		}
	}
	return 0;
}

static int attach(const char *path, const char *function)
{
	union bpf_attr attr = { .prog_type = BPF_PROG_TYPE_TRACING };
	struct bpf_insn code[2] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K }, { .code = BPF_JMP | BPF_EXIT } };
	char held[128];

	attr.expected_attach_type = BPF_TRACE_FENTRY;
	attr.attach_btf_id = type_of_function(function);
	int program = load(&attr, code, 2);
	if (program < 0)
		return 1;
	union bpf_attr opened = { .raw_tracepoint.prog_fd = program };
	int link = bpf(BPF_RAW_TRACEPOINT_OPEN, &opened);
	if (link < 0) {
		perror(function);
		return 1;
	}
	snprintf(held, sizeof(held), "%s-link", path);
	return pin(path, program) || pin(held, link);
}

static int print_info(const char *path, int named)
{
	union bpf_attr attr = { .pathname = (uintptr_t)path };
	uint64_t address = 0;
	struct bpf_prog_info info = { .nr_jited_ksyms = 1, .jited_ksyms = (uintptr_t)&address };
	int program = bpf(BPF_OBJ_GET, &attr);

	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = program;
	attr.info.info_len = sizeof(info);
	attr.info.info = (uintptr_t)&info;
	if (program < 0 || bpf(BPF_OBJ_GET_INFO_BY_FD, &attr))
		return 1;
	if (!named) {
		printf("runs %llu\n", (unsigned long long)info.run_cnt);
		return 0;
	}
	printf("%lx bpf_prog_", (unsigned long)address);
	for (unsigned int i = 0; i < sizeof(info.tag); i++)
		printf("%02x", info.tag[i]);
	printf("_%s\n", info.name);
	return 0;
}

int main(int count, char **words)
{
	if (count == 4 && !strcmp(words[1], "load"))
		return load_filter(words[2], atoi(words[3]));
	if (count == 4 && !strcmp(words[1], "attach"))
		return attach(words[2], words[3]);
	if (count == 3 && (!strcmp(words[1], "runs") || !strcmp(words[1], "name")))
		return print_info(words[2], words[1][0] == 'n');
	return 2;
}
