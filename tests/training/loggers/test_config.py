import re

import pytest

from common.errors import UserError
from training.config import TrainConfig
from training.loggers.config import FilesConfig, WandbConfig


def test_files_alone_are_written_unless_another_logger_is_chosen():
    assert TrainConfig().logger == FilesConfig()
    FilesConfig().check()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"examples": -1}, "--logger.examples: expected at least 0; received -1"),
        ({"upload_mb": -1.0}, "--logger.upload_mb: expected at least 0; received -1.0"),
        ({"timeout": 0.0}, "--logger.timeout: expected more than 0; received 0.0"),
        ({"project": "a/b"}, "--logger.project: expected a name without slashes; received 'a/b'"),
        ({"project": ""}, "--logger.project: expected a name without slashes; received ''"),
    ],
)
def test_options_that_make_no_log_are_refused(settings, said):
    WandbConfig().check()
    with pytest.raises(UserError, match=re.escape(said)):
        TrainConfig(logger=WandbConfig(**settings)).check()
