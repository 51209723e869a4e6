"""The nodes' executor: every callback once, also where more wait than there are threads."""

import threading
import time

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from rclpy.context import Context
from rclpy.task import Future
from ros_tools import PATIENCE_S, ros, wait_for

from tvau.executor import PoolExecutor


@pytest.fixture
def executor():
    context = Context()
    with ros(context):
        executor = PoolExecutor(1, context=context)
        yield executor
        executor.shutdown()


def test_what_waits_for_a_thread_is_not_handed_out_again(executor):
    release, done = threading.Event(), []
    executor.create_task(lambda: release.wait(PATIENCE_S))
    executor.create_task(done.append, 1)
    executor.spin_once(timeout_sec=1.0)
    executor.spin_once(timeout_sec=1.0)
    began = time.monotonic()
    executor.spin_once(timeout_sec=0.3)  # nothing to do but to wait
    assert time.monotonic() - began > 0.2
    release.set()
    wait_for(lambda: done, "the second task")
    assert done == [1]


def test_a_coroutine_goes_on_when_what_it_awaits_is_there(executor):
    answer, heard = Future(), []

    async def listen():
        heard.append(await answer)

    executor.create_task(listen)
    executor.spin_once(timeout_sec=1.0)
    assert heard == []
    answer.set_result("yes")
    deadline = time.monotonic() + PATIENCE_S
    while not heard and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.1)
    assert heard == ["yes"]


def test_a_callback_that_fails_stops_nothing(executor, capfd):
    done = []
    executor.create_task(lambda: 1 / 0)
    executor.spin_once(timeout_sec=1.0)
    wait_for(lambda: "ZeroDivisionError" in capfd.readouterr().err, "a line in the log")
    executor.create_task(done.append, 1)
    executor.spin_once(timeout_sec=1.0)
    wait_for(lambda: done, "the second task")
