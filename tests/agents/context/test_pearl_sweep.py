"""z on its way, within an episode, to the next episode's draw."""

import pytest
import torch

from tests.support.agent_tester import KINDS, all_of, at_step, generator, pearl_agent, random_transitions, tensors


def test_a_sweeping_z_is_read_in_each_step_from_the_posterior_as_it_stands() -> None:
    agent, transitions = pearl_agent(exploration={"sweep": 0.25}), random_transitions(3, 4)
    memory = agent.begin(3, generator(0))
    for step in range(4):
        memory = agent.observe(memory, at_step(transitions, step), all_of(3, True))
        posterior = agent.posterior(memory)
        noise = memory.draws.noise(torch.full((3,), 0.25 * (step + 1)))
        torch.testing.assert_close(memory.z_mean, posterior.mean)
        torch.testing.assert_close(memory.z, posterior.mean + posterior.stddev * noise)


@pytest.mark.parametrize("kind", KINDS)
def test_a_z_that_follows_is_the_episodes_draw_from_the_posterior_as_it_stands(kind: str) -> None:
    agent, transitions = pearl_agent(kind=kind, exploration={"z_follows_posterior": True}), random_transitions(3, 6)
    memory = agent.begin(3, generator(0))
    for step in range(6):
        before = memory
        noise = memory.draws.noise(torch.zeros(3))
        memory = agent.observe(memory, at_step(transitions, step), torch.tensor([True, True, False]))
        posterior = agent.posterior(memory)
        torch.testing.assert_close(memory.z_mean[:2], posterior.mean[:2])
        torch.testing.assert_close(memory.z[:2], (posterior.mean + posterior.stddev * noise)[:2])
        assert torch.equal(memory.z[2], before.z[2])
        if step == 2:
            memory = agent.end_episode(memory, all_of(3, True), generator(1))
            assert not torch.equal(memory.draws.noise(torch.zeros(3)), noise)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_keeps_no_graph_of_how_it_came_about(kind: str) -> None:
    agent, transitions = pearl_agent(kind=kind, exploration={"sweep": 0.25}), random_transitions(3, 2)
    memory = agent.begin(3, generator(0))
    for step in range(2):
        memory = agent.observe(memory, at_step(transitions, step), all_of(3, True))
    assert not any(tensor.requires_grad for tensor in tensors(memory))


def test_a_sweep_through_a_whole_episode_ends_where_the_next_begins() -> None:
    agent, transitions = pearl_agent(exploration={"sweep": 0.25}), random_transitions(3, 4)
    memory = agent.begin(3, generator(0))
    for step in range(4):
        memory = agent.observe(memory, at_step(transitions, step), all_of(3, True))
    torch.testing.assert_close(agent.end_episode(memory, all_of(3, True), generator(1)).z, memory.z)


def test_an_idle_task_does_not_sweep_while_another_plays_on() -> None:
    agent, transitions = pearl_agent(exploration={"sweep": 0.25}), random_transitions(2, 1)
    begun = agent.begin(2, generator(0))
    memory = agent.observe(begun, at_step(transitions, 0), torch.tensor([True, False]))
    assert torch.equal(memory.z[1], begun.z[1])
    assert not torch.equal(memory.z[0], begun.z[0])


def test_the_episodes_end_starts_the_way_anew_for_that_task_only() -> None:
    agent, transitions = pearl_agent(exploration={"sweep": 0.25}), random_transitions(2, 3)
    memory = agent.begin(2, generator(0))
    for step in range(3):
        memory = agent.observe(memory, at_step(transitions, step), all_of(2, True))
    memory = agent.end_episode(memory, torch.tensor([True, False]), generator(1))
    assert memory.steps.tolist() == [0, 3]
    assert memory.draws.episode.tolist() == [1, 0]
