# A board as one buys it: DIANKA_STOCK=1 has the port start boot.py and main.py from its flash.
ifeq ($(DIANKA_STOCK),1)
SRC_USERMOD_C += $(USERMOD_DIR)/start.c $(USERMOD_DIR)/rom.c
LDFLAGS_USERMOD += -Wl,--wrap=mp_init -Wl,--wrap=exit
endif
