"""The collector: the capture API and the five stages, from an HTTP request to `goods.stored`."""
