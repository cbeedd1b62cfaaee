"""Small settings of every algorithm, and the models that they make in the counting family."""

from typing import Any

from agents import (
    GradientAgentConfig,
    MAMLAgentConfig,
    ObservationsConfig,
    RecurrentSACAgentConfig,
    RL2AgentConfig,
    TransformerAgentConfig,
)
from pearl.config.run import (
    FOMAMLConfig,
    MAMLConfig,
    MultitaskSACConfig,
    OracleSACConfig,
    RecurrentSACConfig,
    ReptileConfig,
    RL2Config,
    TransformerConfig,
)
from pearl.config.training import CollectionConfig, TrialReplayConfig
from pearl.model.meta_learner import learner_of
from tests.support.small import Counting, small_config

COLLECTION = CollectionConfig(total_steps=160, n_train_tasks=4)
PROTOCOL = small_config().evaluation
ADAPTING: dict[str, Any] = {
    "hidden_sizes": (8,),
    "inner_episodes": 1,
    "observations": ObservationsConfig(normalise=True),
}
CONFIGS: dict[str, Any] = {
    "pearl": small_config(),
    "maml": MAMLConfig(agent=MAMLAgentConfig(**ADAPTING), training=COLLECTION, evaluation=PROTOCOL),
    "fomaml": FOMAMLConfig(agent=MAMLAgentConfig(**ADAPTING), training=COLLECTION, evaluation=PROTOCOL),
    "reptile": ReptileConfig(agent=GradientAgentConfig(**ADAPTING), training=COLLECTION, evaluation=PROTOCOL),
    "rl2": RL2Config(
        agent=RL2AgentConfig(
            memory_width=6, hidden_sizes=(8,), observations=ObservationsConfig(normalise=True), final_learning_rate=1e-4
        ),
        training=COLLECTION,
        evaluation=PROTOCOL,
    ),
    "transformer": TransformerConfig(
        agent=TransformerAgentConfig(width=8, heads=2, window=5, hidden_sizes=(8,)),
        training=COLLECTION,
        evaluation=PROTOCOL,
    ),
    "multitask_sac": MultitaskSACConfig.matching(small_config()),
    "oracle_sac": OracleSACConfig.matching(small_config()),
    "recurrent_sac": RecurrentSACConfig(
        agent=RecurrentSACAgentConfig(
            memory_width=6, hidden_sizes=(8,), observations=ObservationsConfig(normalise=True), final_learning_rate=1e-4
        ),
        training=TrialReplayConfig(
            total_steps=160,
            n_train_tasks=4,
            tasks_per_iteration=3,
            initial_episodes=2,
            gradient_steps_per_env_step=0.15,
            meta_batch=3,
            replay_capacity=60,
        ),
        evaluation=PROTOCOL,
    ),
}


def made(config: Any, seed: int = 0) -> Any:
    """The model of an algorithm's settings in the counting family."""
    return learner_of(config)(Counting(), config, seed=seed)
