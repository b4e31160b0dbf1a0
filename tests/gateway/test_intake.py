"""Micro-batches: nothing lost, nothing unbounded, errors to their callers."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.intake import Intake, OverloadedError


def run(coroutine):  # type: ignore[no-untyped-def]
    return asyncio.run(asyncio.wait_for(coroutine, 20))


def test_concurrent_posts_share_a_batch_and_get_their_own_answers() -> None:
    """Every caller gets the answer to what it sent, in few batches."""

    async def main() -> None:
        batches: list[int] = []

        async def process(posts: Sequence[str]) -> list[str]:
            batches.append(len(posts))
            await asyncio.sleep(0)
            return [post.upper() for post in posts]

        intake: Intake[str, str] = Intake(process, overlap=1)
        answers = await asyncio.gather(*(intake.submit(f"a{n}") for n in range(200)))
        assert [f"A{n}" for n in range(200)] == answers
        assert len(batches) < 20
        await intake.close()

    run(main())


def test_a_batch_holds_no_more_than_its_limit_but_always_one_post() -> None:
    """A post larger than a batch still goes, alone."""

    async def main() -> None:
        sizes: list[list[int]] = []

        async def process(posts: Sequence[str]) -> list[int]:
            sizes.append([len(p) for p in posts])
            await asyncio.sleep(0)
            return [len(p) for p in posts]

        intake: Intake[str, int] = Intake(process, max_batch=10, overlap=1)
        await asyncio.gather(*(intake.submit("x" * n) for n in (4, 4, 4, 50, 1)))
        assert 63 == sum(map(sum, sizes))
        assert all(sum(size) <= 10 or len(size) == 1 for size in sizes)

    run(main())


def test_past_the_limit_new_posts_are_refused_at_once() -> None:
    """Memory stays bounded: waiting posts are served, more are refused."""

    async def main() -> None:
        gate = asyncio.Event()

        async def process(posts: Sequence[str]) -> list[int]:
            await gate.wait()
            return [1 for _ in posts]

        intake: Intake[str, int] = Intake(process, max_batch=5, max_waiting=10, overlap=1)
        tasks = [asyncio.ensure_future(intake.submit("12345")) for _ in range(8)]
        await asyncio.sleep(0.01)
        refused = [t for t in tasks if t.done()]
        assert refused
        assert all(isinstance(t.exception(), OverloadedError) for t in refused)
        assert 10 >= intake.waiting
        gate.set()
        served = await asyncio.gather(*tasks, return_exceptions=True)
        assert 8 - len(refused) == served.count(1)

    run(main())


def test_an_error_reaches_every_caller_of_its_batch_and_no_other() -> None:
    """A batch that fails is not swallowed, and the next one works."""

    async def main() -> None:
        async def process(posts: Sequence[str]) -> list[int]:
            if "bad" in posts:
                raise ValueError("broken")
            return [0 for _ in posts]

        intake: Intake[str, int] = Intake(process)
        with pytest.raises(ValueError, match="broken"):
            await intake.submit("bad")
        assert 0 == await intake.submit("good")

    run(main())


def test_close_answers_what_was_accepted() -> None:
    """Stopping drains; afterwards nothing is taken."""

    async def main() -> None:
        async def process(posts: Sequence[str]) -> list[str]:
            await asyncio.sleep(0)
            return list(posts)

        intake: Intake[str, str] = Intake(process, overlap=1, max_batch=2)
        tasks = [asyncio.ensure_future(intake.submit(str(n))) for n in range(9)]
        await asyncio.sleep(0)
        await intake.close()
        assert [str(n) for n in range(9)] == [t.result() for t in tasks]
        with pytest.raises(OverloadedError):
            await intake.submit("x")

    run(main())
