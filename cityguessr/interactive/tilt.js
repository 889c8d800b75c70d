// One head of self-cross attention over a few logits: the same panels as Tilt.panels.
function view(values, data) {
  var x = [values.top].concat(data.rest), token = values.token - 1, mine = x[token];
  function slant(at) { return (values.a * at + values.b) * values.c; }
  function weights(at) {
    var t = slant(at);
    return softmax(x.map(function (one) { return t * one; }));
  }
  function mean(at) { return sum(weights(at).map(function (w, j) { return w * x[j]; })); }
  var low = x[x.length - 1], high = x[0], space = 0.04 * (high - low), shares = weights(mine), most = Math.max.apply(null, shares);
  var attended = mean(mine), plain = sum(x) / x.length, t = slant(mine);
  var ends = { low: low - space, high: high + space }, blue = data.colours[0], red = data.colours[1], grey = data.colours[2], pale = data.colours[3];
  var grid = range(data.steps + 1).map(function (n) { return low + (high - low) * n / data.steps; });
  function pairs(numbers, values) { return numbers.map(function (one, i) { return [one, values[i]]; }); }
  var towards = Math.abs(t) < 0.005 ? "The tilt is 0: every logit counts the same, and the answer is the plain mean."
    : "The tilt is " + (t > 0 ? "positive: large" : "negative: small") + " logits count more.";
  return [
    { kind: "note", text: "Token " + (token + 1) + " has the logit " + fixed(mine, 2) + ", so its tilt is (" + fixed(values.a, 2) + " × "
      + fixed(mine, 2) + (values.b < 0 ? " − " : " + ") + fixed(Math.abs(values.b), 2) + ") × " + fixed(values.c, 2) + " = " + fixed(t, 2) + ". " + towards
      + " It gets back " + fixed(attended, 2) + "; the plain mean is " + fixed(plain, 2) + "." },
    { kind: "plot", title: "How much token " + (token + 1) + " looks at each logit",
      x: { label: "logit x", low: ends.low, high: ends.high }, y: { label: "attention weight", low: 0, high: 1.1 * most },
      series: [
        { shape: "stems", points: pairs(x, shares), colour: blue, label: "" },
        { shape: "dots", points: pairs(x, shares), colour: blue, label: "a logit and its weight" },
        { shape: "dashes", points: [[plain, 0], [plain, 1.1 * most]], colour: grey, label: "plain mean" },
        { shape: "line", points: [[attended, 0], [attended, 1.1 * most]], colour: red, label: "tilted mean" },
      ] },
    { kind: "plot", title: "From a token's logit to what it gets back",
      x: { label: "logit x of the token that asks", low: ends.low, high: ends.high }, y: { label: "tilted mean", low: ends.low, high: ends.high },
      series: [
        { shape: "dashes", points: [[ends.low, plain], [ends.high, plain]], colour: grey, label: "plain mean" },
        { shape: "line", points: pairs(grid, grid.map(mean)), colour: pale, label: "" },
        { shape: "dots", points: pairs(x, x.map(mean)), colour: blue, label: "a token" },
        { shape: "ring", points: [[mine, attended]], colour: red, label: "token " + (token + 1) },
      ] },
  ];
}
