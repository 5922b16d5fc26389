// What the emulated board's port lacks of other ports: it starts what is on its flash, and
// machine.reset() restarts it instead of ending the emulator.
#include <stdint.h>

#include "py/runtime.h"
#include "shared/runtime/pyexec.h"

void __real_mp_init(void);
void __wrap_mp_init(void);
void __wrap_exit(int status);

void __wrap_mp_init(void) {
    __real_mp_init();
    pyexec_frozen_module("_boot.py", false);
    pyexec_file_if_exists("boot.py");
    if (pyexec_mode_kind == PYEXEC_MODE_FRIENDLY_REPL) {
        pyexec_file_if_exists("main.py");
    }
}

void __wrap_exit(int status) {
    (void)status;
    *(volatile uint32_t *)0xe000ed0c = 0x05fa0004;
    for (;;) {
    }
}
