// The memory that serves as flash, read and written in C as every real port's flash is: littlefs
// reads a few bytes at a time, thousands of times in a step.
#include <string.h>

#include "py/runtime.h"

#define MEMORY ((uint8_t *)0x21000000)
#define BLOCK_SIZE (4096)

static uint8_t *place(const mp_obj_t *args) {
    return MEMORY + mp_obj_get_int(args[0]) * BLOCK_SIZE + mp_obj_get_int(args[2]);
}

// readblocks(block, buf, offset)
static mp_obj_t flash_readblocks(size_t n_args, const mp_obj_t *args) {
    (void)n_args;
    mp_buffer_info_t buf;
    mp_get_buffer_raise(args[1], &buf, MP_BUFFER_WRITE);
    memcpy(buf.buf, place(args), buf.len);
    return MP_OBJ_NEW_SMALL_INT(0);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(flash_readblocks_obj, 3, 3, flash_readblocks);

// writeblocks(block, buf, offset)
static mp_obj_t flash_writeblocks(size_t n_args, const mp_obj_t *args) {
    (void)n_args;
    mp_buffer_info_t buf;
    mp_get_buffer_raise(args[1], &buf, MP_BUFFER_READ);
    memcpy(place(args), buf.buf, buf.len);
    return MP_OBJ_NEW_SMALL_INT(0);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(flash_writeblocks_obj, 3, 3, flash_writeblocks);

static const mp_rom_map_elem_t flash_globals_table[] = {
    { MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_emulated_flash) },
    { MP_ROM_QSTR(MP_QSTR_readblocks), MP_ROM_PTR(&flash_readblocks_obj) },
    { MP_ROM_QSTR(MP_QSTR_writeblocks), MP_ROM_PTR(&flash_writeblocks_obj) },
};
static MP_DEFINE_CONST_DICT(flash_globals, flash_globals_table);

const mp_obj_module_t emulated_flash_module = {
    .base = { &mp_type_module },
    .globals = (mp_obj_dict_t *)&flash_globals,
};

MP_REGISTER_MODULE(MP_QSTR_emulated_flash, emulated_flash_module);
