"""A line, fitted by gradient descent over the points of all ranks."""
import numpy


def fit(points, ranks, steps, rate):
    weights = numpy.zeros(2)
    losses = []
    for _ in range(steps):
        error = points[:, 0] * weights[0] + weights[1] - points[:, 1]
        share = numpy.array([(error * points[:, 0]).sum(), error.sum(), (error**2).sum(), len(points)])
        slope, offset, squares, count = ranks.sum(share)
        weights -= rate * 2 * numpy.array([slope, offset]) / count
        losses.append(squares / count)
    return weights, losses[0], losses[-1]
