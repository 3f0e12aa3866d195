"""What the processes of `benchmarks.survival` have in common, imported once, before they are forked."""

from unetlab.cli import quiet

quiet.settle()
quiet.import_tensorflow()

import unetlab.jobs.reproduce  # noqa: E402, F401
import unetlab.jobs.showdown  # noqa: E402, F401
