/* SPDX-License-Identifier: MIT */
/*
 * random FIRST LAST FILE…: what log.c does with inputs, without libFuzzer: each seed is one of the files,
 * damaged at random.  Built with gcc's sanitizers; a seed that fails is named, and can be run alone.  Speaks
 * TAP.
 */
#include <sanitizer/common_interface_defs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INPUT_MAX 16384
#define SEED_SECONDS 60
#define FILES_MAX 64

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__asan_default_options(void);

/* A check of log.c's that fails is told like the rest. */
const char *__asan_default_options(void)
{
	return "handle_abort=1";
}

static struct {
	uint8_t bytes[INPUT_MAX];
	size_t size;
} files[FILES_MAX];
static unsigned n_files;
static unsigned long seed;
static uint64_t dice_state;

static uint32_t dice(uint32_t sides)
{
	dice_state ^= dice_state << 13;
	dice_state ^= dice_state >> 7;
	dice_state ^= dice_state << 17;
	return (uint32_t)((dice_state * 0x2545f4914f6cdd1du) >> 33) % sides;
}

static void tell_seed(void)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "# seed %lu\n", seed);

	if (write(STDOUT_FILENO, text, (size_t)n) < 0)
		_exit(3);
}

static void read_file(const char *path)
{
	FILE *f = fopen(path, "re");

	if (f == NULL || n_files == FILES_MAX) {
		perror(path);
		exit(2);
	}
	files[n_files].size = fread(files[n_files].bytes, 1, INPUT_MAX, f);
	n_files += files[n_files].size > 0;
	fclose(f);
}

/* A number that is often on the edge of what is right, over any bytes. */
static void put_number(uint8_t *data, size_t size)
{
	static const uint64_t edges[] = { 0,   1,    2,	    63,	       64,	   127,
					  255, 4096, 65535, INT32_MAX, UINT32_MAX, UINT64_MAX };
	uint64_t number = edges[dice(sizeof(edges) / sizeof(edges[0]))] + dice(3) - 1;
	size_t width = (size_t)1 << dice(4), at = dice((uint32_t)size);

	memcpy(data + at, &number, width < size - at ? width : size - at);
}

static void copy_over(uint8_t *data, size_t size, size_t unit)
{
	size_t from = dice((uint32_t)size), to = dice((uint32_t)size),
	       len = unit * (1 + dice(256 / (uint32_t)unit)), room;

	from -= from % unit;
	to -= to % unit;
	room = size - (from > to ? from : to);
	memmove(data + to, data + from, len < room ? len : room);
}

static void damage(uint8_t *data, size_t size)
{
	size_t at = dice((uint32_t)size);

	switch (dice(6)) {
	case 0:
		data[at] = (uint8_t)dice(256);
		break;
	case 1:
		data[at] ^= (uint8_t)(1u << dice(8));
		break;
	case 2:
		copy_over(data, size, 64); /* whole records */
		break;
	case 3:
		copy_over(data, size, 1);
		break;
	default:
		put_number(data, size);
	}
}

/* Exactly as long as it is, so that a byte beyond is seen. */
static void run_seed(void)
{
	unsigned file = (dice_state = seed * 0x9e3779b97f4a7c15u | 1, dice(n_files));
	size_t size = dice(4) == 0 ? 1 + dice((uint32_t)files[file].size) : files[file].size;
	uint8_t *data = malloc(size);

	if (data == NULL)
		exit(2);
	memcpy(data, files[file].bytes, size);
	for (uint32_t n = dice(24); size > 1 && n > 0; n--)
		damage(data + 1, size - 1);
	alarm(SEED_SECONDS);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
}

int main(int argc, char **argv)
{
	unsigned long first, last;

	if (argc < 4 || LLVMFuzzerInitialize(&argc, &argv) != 0)
		return 2;
	first = strtoul(argv[1], NULL, 10);
	last = strtoul(argv[2], NULL, 10);
	for (int i = 3; i < argc; i++)
		read_file(argv[i]);
	if (n_files == 0)
		return 2;
	__sanitizer_set_death_callback(tell_seed);
	for (seed = first; seed <= last; seed++)
		run_seed();
	printf("ok 1 - seeds %lu to %lu of %u logs\n1..1\n", first, last, n_files);
	return 0;
}
