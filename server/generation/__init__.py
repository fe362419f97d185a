"""From a request to its response, the same for every dialect: events of the runtime, an answer, a stream of it."""
