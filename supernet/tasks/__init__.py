"""What networks are trained and judged for, one file a task.

Every file of this folder is imported, so a new task is one new file: an instance of `supernet.tasks.task.Task` under
`supernet.tasks.task.register_task`.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
