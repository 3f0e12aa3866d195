"""Arrays in, arrays out: decoding, geometry, regions. Imports nothing of unetlab; travels inside every logged model."""
