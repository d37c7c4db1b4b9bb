/* A stand-in for ViGEmClient.dll: the functions that vgamepad binds, after their public header. There is no bus behind it.

   VIGEM_LOG is the file that gets one line for each thing that the driver would hear. VIGEM_MISSING, if it is set, is a
   driver that is not installed. VIGEM_GONE is a file: once it exists, the driver has been removed. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

#define EXPORT __declspec(dllexport)
enum { NONE = 0x20000000, BUS_NOT_FOUND = 0xE0000001, TARGET_NOT_PLUGGED_IN = 0xE0000007, NOT_SUPPORTED = 0xE0000016 };

typedef struct {
    uint16_t buttons;
    uint8_t left_trigger, right_trigger;
    int16_t left_x, left_y, right_x, right_y;
} Report;
typedef struct {
    uint16_t vid, pid;
    int plugged_in;
} Target;

static void tell(const char *what, const Report *report) {
    const char *path = getenv("VIGEM_LOG");
    FILE *file = path ? fopen(path, "ab") : NULL;
    if (!file) return;
    fprintf(file, "%s", what);
    for (size_t i = 0; report && i < sizeof *report; i++) fprintf(file, "%s%02x", i ? "" : " ", ((const uint8_t *)report)[i]);
    fprintf(file, "\n");
    fclose(file);
}

static int is_gone(void) {
    const char *path = getenv("VIGEM_GONE");
    return path && GetFileAttributesA(path) != INVALID_FILE_ATTRIBUTES;
}

EXPORT void *vigem_alloc(void) { return calloc(1, 8); }
EXPORT void vigem_free(void *bus) { free(bus); }
EXPORT uint32_t vigem_connect(void *bus) {
    if (getenv("VIGEM_MISSING")) return BUS_NOT_FOUND;
    tell("connect", NULL);
    return NONE;
}
EXPORT void vigem_disconnect(void *bus) { tell("disconnect", NULL); }

EXPORT void *vigem_target_x360_alloc(void) {
    Target *target = calloc(1, sizeof *target);
    target->vid = 0x045E, target->pid = 0x028E;
    return target;
}
EXPORT void *vigem_target_ds4_alloc(void) { return calloc(1, sizeof(Target)); }
EXPORT void vigem_target_free(Target *target) { free(target); }
EXPORT uint32_t vigem_target_add(void *bus, Target *target) {
    if (is_gone()) return BUS_NOT_FOUND;
    target->plugged_in = 1;
    tell("plug", NULL);
    return NONE;
}
EXPORT uint32_t vigem_target_remove(void *bus, Target *target) {
    if (!target->plugged_in) return TARGET_NOT_PLUGGED_IN;
    target->plugged_in = 0;
    tell("unplug", NULL);
    return NONE;
}
EXPORT uint32_t vigem_target_x360_update(void *bus, Target *target, Report report) {
    if (is_gone()) target->plugged_in = 0;
    if (!target->plugged_in) return TARGET_NOT_PLUGGED_IN;
    tell("report", &report);
    return NONE;
}

EXPORT void vigem_target_set_vid(Target *target, uint16_t vid) { target->vid = vid; }
EXPORT void vigem_target_set_pid(Target *target, uint16_t pid) { target->pid = pid; }
EXPORT uint16_t vigem_target_get_vid(Target *target) { return target->vid; }
EXPORT uint16_t vigem_target_get_pid(Target *target) { return target->pid; }
EXPORT uint32_t vigem_target_get_index(Target *target) { return 1; }
EXPORT uint32_t vigem_target_get_type(Target *target) { return 0; }
EXPORT int vigem_target_is_attached(Target *target) { return target->plugged_in; }

/* What vgamepad binds as it is imported, and the agent does not use. */
EXPORT uint32_t vigem_target_x360_get_user_index(void *bus, Target *target, uint32_t *index) { return NOT_SUPPORTED; }
EXPORT uint32_t vigem_target_x360_register_notification(void *bus, Target *target, void *call, void *data) { return NOT_SUPPORTED; }
EXPORT void vigem_target_x360_unregister_notification(Target *target) {}
EXPORT uint32_t vigem_target_ds4_update(void *bus, Target *target, Report report) { return NOT_SUPPORTED; }
EXPORT uint32_t vigem_target_ds4_update_ex_ptr(void *bus, Target *target, void *report) { return NOT_SUPPORTED; }
EXPORT uint32_t vigem_target_ds4_register_notification(void *bus, Target *target, void *call, void *data) { return NOT_SUPPORTED; }
EXPORT void vigem_target_ds4_unregister_notification(Target *target) {}
