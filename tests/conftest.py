"""The order of the test files."""

# Few, long tests: a worker that takes such a file last keeps the others waiting.
FIRST = ("test_examples.py", "test_docs.py", "test_drills.py", "test_backends.py")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in FIRST)
