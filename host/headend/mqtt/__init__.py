"""What a broker of MQTT is told of the accounts, as Home Assistant discovers them."""
