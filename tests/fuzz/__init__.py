"""Two fuzzers: HTTP requests against plain uvicorn, and payloads with one odd value."""
