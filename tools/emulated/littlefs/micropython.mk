# littlefs for the emulated board, whose port was never built with it, and a flash for it.
SRC_USERMOD_C += $(USERMOD_DIR)/time.c $(USERMOD_DIR)/flash.c
# The port's linker script has no place for unwinding tables, and nothing unwinds.
LDFLAGS_USERMOD += -Wl,-T,$(USERMOD_DIR)/discard.ld
