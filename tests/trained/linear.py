"""How far a linear classifier on pixels gets on the image set: what the network must be better than.

Multinomial logistic regression, given every advantage: on the full pixels and on pixels averaged over squares (fewer
weights, less overfitting), with several weight decays, and reported is the best of them all on the judging images
themselves, after any epoch.
"""

import torch
from torch.nn import functional as F


def features(pixels, square):
    """uint8 `[N, 64, 64, 3]` to float `[N, 3 * (64 / square)**2]`, around 0."""
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5
    return F.avg_pool2d(x, square).flatten(1)


def accuracy_of_best(train, judge, classes, square, decay, epochs=8, batch=256):
    (pixels, labels), (judge_pixels, judge_labels) = train, judge
    torch.manual_seed(0)
    layer = torch.nn.Linear(3 * (64 // square) ** 2, classes)
    optimizer = torch.optim.Adam(layer.parameters(), 1e-3 if square > 1 else 2e-4, weight_decay=decay)
    labels, judge_x = torch.from_numpy(labels), features(judge_pixels, square)
    best = 0.0
    for _ in range(epochs):
        order = torch.randperm(len(labels))
        for chosen in order.split(batch):
            optimizer.zero_grad()
            F.cross_entropy(layer(features(pixels[chosen.numpy()], square)), labels[chosen]).backward()
            optimizer.step()
        with torch.no_grad():
            hits = layer(judge_x).argmax(1).numpy() == judge_labels
        best = max(best, float(hits.mean()))
    return best


def baseline(train, judge, classes, log):
    """Best top-1 of a linear classifier on `judge`; each `(uint8 pixels, labels)`."""
    best = 0.0
    for square in (1, 4):
        for decay in (0.0, 1e-3, 1e-2):
            top1 = accuracy_of_best(train, judge, classes, square, decay)
            log(f"linear: {64 // square}x{64 // square} pixels, weight decay {decay}: top-1 {top1:.2%}")
            best = max(best, top1)
    return best
