// SPDX-License-Identifier: Apache-2.0
// Two helpers of the bench of system calls, told what to do by lines on standard input; each answers with one line.
//
//     loop    the unrelated process: "getppid SLICES CALLS" and "open_close SLICES CALLS" -> least nanoseconds a call of any slice
//     empty   the yardstick: "attach" puts a program that does nothing on sys_enter, "detach" takes it off; "others" -> how many BPF
//             programs, of whoever, are on sys_enter or sys_exit besides
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void getppid_once(void)
{
	syscall(SYS_getppid);
}

static void open_close_once(void)
{
	close(open("/dev/null", O_RDONLY | O_CLOEXEC));
}

/* A slice is shorter than a turn on the processor, so the best of many was not interrupted. */
static double least(void (*once)(void), long slices, long calls)
{
	double best = 1e18;

	for (long s = 0; s < slices; s++) {
		double began = now();

		for (long i = 0; i < calls; i++)
			once();
		double each = (now() - began) / calls;

		if (each < best)
			best = each;
	}
	return best;
}

static int loop(void)
{
	char what[32];
	long slices, calls;

	while (scanf("%31s %ld %ld", what, &slices, &calls) == 3) {
		printf("%.3f\n", least(strcmp(what, "getppid") ? open_close_once : getppid_once, slices, calls));
		fflush(stdout);
	}
	return 0;
}

static int die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return 1;
}

/* r0 = 0; exit */
static int load_empty(void)
{
	const struct bpf_insn code[] = { { 0xb7, 0, 0, 0, 0 }, { 0x95, 0, 0, 0, 0 } };
	int id = libbpf_find_vmlinux_btf_id("sys_enter", BPF_TRACE_RAW_TP);
	LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = BPF_TRACE_RAW_TP, .attach_btf_id = id);

	return id < 0 ? id : bpf_prog_load(BPF_PROG_TYPE_TRACING, "empty", "GPL", code, 2, &options);
}

/* Whether the link is on a tracepoint of system calls. */
static int on_system_calls(uint32_t id)
{
	char name[32] = "";
	struct bpf_link_info info = {};
	uint32_t size = sizeof(info);
	int fd = bpf_link_get_fd_by_id(id);

	if (fd < 0)
		return 0;
	info.raw_tracepoint.tp_name = (uint64_t)(uintptr_t)name;
	info.raw_tracepoint.tp_name_len = sizeof(name);
	int found = !bpf_obj_get_info_by_fd(fd, &info, &size) && info.type == BPF_LINK_TYPE_RAW_TRACEPOINT &&
		    (!strcmp(name, "sys_enter") || !strcmp(name, "sys_exit"));

	close(fd);
	return found;
}

static int count_others(void)
{
	int count = 0;

	for (uint32_t id = 0; !bpf_link_get_next_id(id, &id);)
		count += on_system_calls(id);
	return count;
}

static int empty(void)
{
	char what[32];
	int link = -1;
	int program = load_empty();

	if (program < 0)
		return die("load an empty program");
	while (scanf("%31s", what) == 1) {
		if (!strcmp(what, "attach") && (link = bpf_raw_tracepoint_open(NULL, program)) < 0)
			return die("attach an empty program to sys_enter");
		if (!strcmp(what, "detach") && close(link))
			return die("detach the empty program");
		printf("%d\n", strcmp(what, "others") ? 0 : count_others());
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "loop"))
		return loop();
	if (argc == 2 && !strcmp(argv[1], "empty"))
		return empty();
	fprintf(stderr, "usage: syscall-loop loop|empty\n");
	return 2;
}
