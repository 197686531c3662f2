"""Runs a Lambda handler with AWS's own runtime client: python bootstrap.py MODULE.FUNCTION.

Does what `python -m awslambdaric MODULE.FUNCTION` does, and owns the one variable that this does not
set and AWS does: AWS_EXECUTION_ENV, which names the version that only Python itself knows.
"""

import os
import sys

# A handler may start processes of its own, which import this file under another name.
if __name__ == "__main__":
    # The folder of the function comes first among the imports, where this file's would be.
    sys.path[0] = os.getcwd()
    version = "AWS_Lambda_python%d.%d" % sys.version_info[:2]
    os.environ.setdefault("AWS_EXECUTION_ENV", version)

    from awslambdaric.__main__ import main

    main(sys.argv)
