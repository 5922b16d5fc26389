// A ROMFS for the emulated board, whose port has none: memory behind the flash for programs. With
// MICROPY_VFS_ROM_IOCTL it is mounted at every start; a fresh board has none in it.
#include <string.h>

#include "py/runtime.h"
#include "extmod/vfs.h"

#if MICROPY_VFS_ROM_IOCTL

#define MEMORY ((uint8_t *)0x21800000)
#define SIZE (512 * 1024)
#define WRITE_SIZE (4)

mp_obj_t mp_vfs_rom_ioctl(size_t n_args, const mp_obj_t *args) {
    switch (mp_obj_get_int(args[0])) {
        case MP_VFS_ROM_IOCTL_GET_NUMBER_OF_SEGMENTS:
            return MP_OBJ_NEW_SMALL_INT(1);
        case MP_VFS_ROM_IOCTL_GET_SEGMENT:
            return mp_obj_new_memoryview('B', SIZE, MEMORY);
        case MP_VFS_ROM_IOCTL_WRITE_PREPARE:
            memset(MEMORY, 0xff, SIZE);
            return MP_OBJ_NEW_SMALL_INT(WRITE_SIZE);
        case MP_VFS_ROM_IOCTL_WRITE: {
            mp_buffer_info_t buf;
            mp_get_buffer_raise(args[3], &buf, MP_BUFFER_READ);
            memcpy(MEMORY + mp_obj_get_int(args[2]), buf.buf, buf.len);
            return MP_OBJ_NEW_SMALL_INT(0);
        }
        case MP_VFS_ROM_IOCTL_WRITE_COMPLETE:
            return MP_OBJ_NEW_SMALL_INT(0);
        default:
            return MP_OBJ_NEW_SMALL_INT(-22);
    }
}

#endif
