"""The broker's files as Mosquitto reads them. Pure: the text is an argument."""
