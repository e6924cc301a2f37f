"""The state of a rule, as the nest it computes with and as a flat list."""


def flat_state(state, num_parameters):
    """Returns `[(name, index of the parameter or None, tensor), ...]`."""
    flat = []
    for name, value in state.items():
        if isinstance(value, (list, tuple)):
            if len(value) != num_parameters:
                raise ValueError(
                    f"state[{name!r}] must hold one tensor for each parameter. "
                    f"Received: {len(value)} for {num_parameters} parameters."
                )
            flat += [(name, index, tensor) for index, tensor in enumerate(value)]
        else:
            flat.append((name, None, value))
    return flat


def nested_state(keys, tensors):
    """Returns the state of `flat_state`'s keys and their tensors."""
    state = {}
    for (name, index), tensor in zip(keys, tensors, strict=True):
        if index is None:
            state[name] = tensor
        else:
            state.setdefault(name, []).append(tensor)
    return state
