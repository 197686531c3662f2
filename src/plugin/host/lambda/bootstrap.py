"""Runs a Lambda handler with AWS's own runtime client: python bootstrap.py MODULE.FUNCTION.

Owns what that client cannot do by itself: report why a handler does not load to an address that has
a path. Everything else is the client's.
"""

import os
import sys


def main():
    # The folder of the function comes first among the imports, where this file's would be.
    sys.path[0] = os.getcwd()
    version = "AWS_Lambda_python%d.%d" % sys.version_info[:2]
    os.environ.setdefault("AWS_EXECUTION_ENV", version)

    from awslambdaric import bootstrap
    from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

    address, _, token = os.environ["AWS_LAMBDA_RUNTIME_API"].partition("/")

    class Client(LambdaRuntimeClient):
        def call_rapid(self, http_method, endpoint, *rest, **named):
            # This way alone takes the address apart, with a library that knows no paths in one.
            path = "/" + token + endpoint
            return super().call_rapid(http_method, path, *rest, **named)

    bootstrap.run(sys.argv[1], Client(address))


# A handler may start processes of its own, which import this file under another name.
if __name__ == "__main__":
    main()
