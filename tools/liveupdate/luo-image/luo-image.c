// SPDX-License-Identifier: GPL-2.0
/*
 * luo-image: what does the kernel in this image take over by a live update?
 *
 * Prints the record of a bzImage (linux/kho/abi/image.h). The file may be anything:
 * every offset and size in it is checked against what was read.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef __packed
#define __packed __attribute__((__packed__))
#endif
#include <linux/kho/abi/image.h>

/* Exit codes, those of luoctl(1). */
enum {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_NO_RECORD = 3,
	EXIT_USAGE = 64,
};

/* The x86 boot protocol: Documentation/arch/x86/boot.rst. */
enum {
	SETUP_SECTS = 0x1f1,
	BOOT_MAGIC = 0x202,
	BOOT_VERSION = 0x206,
	KERNEL_VERSION = 0x20e,
	KERNEL_INFO_OFFSET = 0x268,
	SETUP_SIZE = 0x26c,
	PROTOCOL_WITH_INFO = 0x20f,
};

/* A record is a few hundred bytes; all of kernel_info is not much more. */
#define INFO_MAX (1 << 20)

/**
 * struct image - an image and what was found in it
 * @path: its name
 * @error: why nothing can be said of it, or NULL
 * @release: the release of its kernel, or empty
 * @info: kernel_info, read from the file
 * @record: the record in @info, or NULL
 * @hdr: its header, in host byte order
 * @cmdline: the built-in command line, or NULL
 */
struct image {
	const char *path;
	const char *error;
	char release[128];
	uint8_t *info;
	const uint8_t *record;
	struct kho_image_header hdr;
	const char *cmdline;
};

static uint16_t get16(const uint8_t *p)
{
	return p[0] | p[1] << 8;
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) | (uint32_t)get16(p + 2) << 16;
}

/* All of it, or not at all. */
static bool read_at(int fd, void *buf, size_t len, uint64_t at)
{
	char *to = buf;

	while (len) {
		ssize_t n = pread(fd, to, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		to += n;
		at += n;
		len -= n;
	}
	return true;
}

static const uint8_t *format_at(const struct image *img, unsigned int nr)
{
	return img->record + img->hdr.header_size + (size_t)nr * img->hdr.format_size;
}

static const char *format_name(const struct image *img, unsigned int nr)
{
	return (const char *)format_at(img, nr) + offsetof(struct kho_image_format, name);
}

/* "6.12.1-luo (who@where) #1 SMP": the first word. */
static void read_release(struct image *img, int fd, const uint8_t *setup)
{
	ssize_t n;

	n = pread(fd, img->release, sizeof(img->release) - 1,
		  get16(setup + KERNEL_VERSION) + 0x200);
	img->release[n > 0 ? n : 0] = 0;
	img->release[strcspn(img->release, " ")] = 0;
}

/* Find the record among the chunks of the variable part of kernel_info. */
static const char *find_record(struct image *img, size_t at, size_t end)
{
	while (at < end) {
		size_t size;

		if (end - at < 8)
			return "kernel_info is damaged";
		size = get32(img->info + at + 4);
		if (size < 8 || size > end - at)
			return "kernel_info is damaged";
		if (!memcmp(img->info + at, KHO_IMAGE_MAGIC, 4)) {
			img->record = img->info + at;
			img->hdr.size = size;
			return NULL;
		}
		at += size;
	}
	return NULL;
}

static const char *check_record(struct image *img)
{
	struct kho_image_header *hdr = &img->hdr;
	const uint8_t *record = img->record;
	size_t need;

	if (hdr->size < offsetof(struct kho_image_header, flags))
		return "the record is too short";
	hdr->version = get16(record + offsetof(struct kho_image_header, version));
	if (hdr->version != KHO_IMAGE_VERSION)
		return "the record has a version that is not known here";
	if (hdr->size < sizeof(*hdr))
		return "the record is too short";

	hdr->flags = get16(record + offsetof(struct kho_image_header, flags));
	hdr->header_size = get16(record + offsetof(struct kho_image_header, header_size));
	hdr->format_size = get16(record + offsetof(struct kho_image_header, format_size));
	hdr->nr_formats = get16(record + offsetof(struct kho_image_header, nr_formats));
	hdr->cmdline_size = get16(record + offsetof(struct kho_image_header, cmdline_size));

	if (hdr->header_size < sizeof(*hdr) || hdr->format_size < sizeof(struct kho_image_format))
		return "a size in the record is wrong";
	need = hdr->header_size + (size_t)hdr->nr_formats * hdr->format_size;
	if (need + hdr->cmdline_size > hdr->size)
		return "the record is too short";

	for (unsigned int i = 0; i < hdr->nr_formats; i++) {
		const char *name = format_name(img, i);

		if (!*name || strnlen(name, KHO_IMAGE_NAME_LENGTH) == KHO_IMAGE_NAME_LENGTH)
			return "a name in the record has no end";
	}
	if (hdr->cmdline_size) {
		img->cmdline = (const char *)record + need;
		if (strnlen(img->cmdline, hdr->cmdline_size) != hdr->cmdline_size - 1U)
			return "the command line in the record has no end";
	}
	return NULL;
}

static const char *read_image(struct image *img, int fd)
{
	uint8_t setup[SETUP_SIZE], head[12];
	uint32_t fixed, total;
	const char *error;
	uint64_t info;

	if (!read_at(fd, setup, sizeof(setup), 0) || memcmp(setup + BOOT_MAGIC, "HdrS", 4))
		return "not a bzImage";
	read_release(img, fd, setup);
	if (get16(setup + BOOT_VERSION) < PROTOCOL_WITH_INFO)
		return NULL;

	info = ((setup[SETUP_SECTS] ? setup[SETUP_SECTS] : 4) + 1) * 512ULL +
	       get32(setup + KERNEL_INFO_OFFSET);
	if (!read_at(fd, head, sizeof(head), info) || memcmp(head, "LToP", 4))
		return "kernel_info is damaged";
	fixed = get32(head + 4);
	total = get32(head + 8);
	if (fixed < sizeof(head) || total < fixed || total > INFO_MAX)
		return "kernel_info is damaged";

	img->info = malloc(total);
	if (!img->info)
		return strerror(errno);
	if (!read_at(fd, img->info, total, info))
		return "kernel_info is damaged";
	error = find_record(img, fixed, total);
	return error || !img->record ? error : check_record(img);
}

static void load(struct image *img, const char *path)
{
	int fd;

	*img = (struct image){.path = path};
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		img->error = strerror(errno);
		return;
	}
	img->error = read_image(img, fd);
	close(fd);
}

/* What comes from a file may hold anything: no control character gets out. */
static void put_json_string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		unsigned char c = *s;

		if (c < 0x20 || c >= 0x7f)
			printf("\\u%04x", c);
		else if (c == '"' || c == '\\')
			printf("\\%c", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void put_string(const char *s)
{
	for (; *s; s++) {
		unsigned char c = *s;

		if (c < 0x20 || c >= 0x7f)
			printf("\\x%02x", c);
		else
			putchar(c);
	}
}

static const char *kind_name(unsigned int kind)
{
	static const char *const names[] = {
		[KHO_FORMAT_KHO] = "kho",
		[KHO_FORMAT_LUO] = "luo",
		[KHO_FORMAT_HANDLER] = "handler",
		[KHO_FORMAT_FLB] = "flb",
	};

	return kind < sizeof(names) / sizeof(names[0]) && names[kind] ? names[kind] : "unknown";
}

static void print_text(const struct image *img)
{
	put_string(img->path);
	printf(": ");
	if (img->error) {
		printf("%s\n", img->error);
		return;
	}
	printf("Linux ");
	put_string(img->release);
	if (!img->record) {
		printf("\n  no record: as mainline, which reads kho-v4, luo-v5 and memfd-v2\n");
		return;
	}
	printf("\n  record      version %u\n", img->hdr.version);
	printf("  default     kho=%s liveupdate=%s\n",
	       img->hdr.flags & KHO_IMAGE_KHO_ON ? "on" : "off",
	       img->hdr.flags & KHO_IMAGE_LIVEUPDATE_ON ? "on" : "off");
	if (img->cmdline) {
		printf("  built in    ");
		put_string(img->cmdline);
		printf("%s\n", img->hdr.flags & KHO_IMAGE_CMDLINE_ONLY
				       ? " (and no other command line)"
				       : "");
	}
	for (unsigned int i = 0; i < img->hdr.nr_formats; i++) {
		const uint8_t *format = format_at(img, i);

		printf("  reads       %-8s ", kind_name(get16(format)));
		put_string(format_name(img, i));
		printf("%s\n", get16(format + 2) & KHO_FORMAT_MODULE ? " (module)" : "");
	}
}

static void print_json_record(const struct image *img)
{
	printf("{\"version\": %u, \"kho\": %s, \"liveupdate\": %s, \"cmdline\": ", img->hdr.version,
	       img->hdr.flags & KHO_IMAGE_KHO_ON ? "true" : "false",
	       img->hdr.flags & KHO_IMAGE_LIVEUPDATE_ON ? "true" : "false");
	if (img->cmdline)
		put_json_string(img->cmdline);
	else
		printf("null");
	printf(", \"cmdlineOnly\": %s, \"formats\": [",
	       img->hdr.flags & KHO_IMAGE_CMDLINE_ONLY ? "true" : "false");
	for (unsigned int i = 0; i < img->hdr.nr_formats; i++) {
		const uint8_t *format = format_at(img, i);

		printf("%s{\"kind\": \"%s\", \"name\": ", i ? ", " : "", kind_name(get16(format)));
		put_json_string(format_name(img, i));
		printf(", \"module\": %s}",
		       get16(format + 2) & KHO_FORMAT_MODULE ? "true" : "false");
	}
	printf("]}");
}

static void print_json(const struct image *img)
{
	printf("{\"file\": ");
	put_json_string(img->path);
	printf(", \"error\": ");
	if (img->error)
		put_json_string(img->error);
	else
		printf("null");
	printf(", \"release\": ");
	put_json_string(img->release);
	printf(", \"record\": ");
	if (img->record && !img->error)
		print_json_record(img);
	else
		printf("null");
	printf("}");
}

static void print_usage(FILE *to)
{
	fputs("usage: luo-image [--json] IMAGE...\n"
	      "Print what the kernel in each bzImage takes over by a live update.\n"
	      "Exit status: 0 all printed, 1 a file is damaged, or no bzImage, 3 no record.\n",
	      to);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int status = EXIT_DONE, opt;
	bool json = false;

	while ((opt = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		switch (opt) {
		case 'j':
			json = true;
			break;
		case 'h':
			print_usage(stdout);
			return EXIT_DONE;
		default:
			print_usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (optind == argc) {
		print_usage(stderr);
		return EXIT_USAGE;
	}

	if (json)
		printf("{\"apiVersion\": 1, \"images\": [");
	for (int i = optind; i < argc; i++) {
		struct image img;

		load(&img, argv[i]);
		if (json) {
			printf("%s\n  ", i > optind ? "," : "");
			print_json(&img);
		} else {
			print_text(&img);
		}
		if (img.error)
			status = EXIT_FAILED;
		else if (!img.record && status == EXIT_DONE)
			status = EXIT_NO_RECORD;
		free(img.info);
	}
	if (json)
		printf("\n]}\n");
	if (fflush(stdout) || ferror(stdout)) {
		perror("luo-image");
		return EXIT_FAILED;
	}
	return status;
}
