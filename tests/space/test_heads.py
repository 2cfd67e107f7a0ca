"""What the contracts do not say about heads."""

import torch

from space.kinds import HEADS


def test_the_token_label_head_adds_half_of_the_greatest_logits_of_all_places() -> None:
    head = HEADS("token_label_head", norm="layer_norm").build(8, 5)
    torch.nn.init.normal_(head.aux.weight)
    x_BHWC = torch.randn(2, 3, 4, 8)
    tokens_BNC = torch.nn.functional.layer_norm(x_BHWC, (8,)).flatten(1, 2)
    aux_BNK = tokens_BNC @ head.aux.weight.T + head.aux.bias
    expected = tokens_BNC.mean(1) @ head.fc.weight.T + head.fc.bias + 0.5 * aux_BNK.max(1)[0]
    torch.testing.assert_close(head(x_BHWC), expected)
    assert torch.equal(HEADS("token_label_head", norm="none").build(8, 0)(x_BHWC), x_BHWC.mean((1, 2)))
