// What every view needs; the same rules as in panels.py.
function fixed(value, digits) {
  var power = Math.pow(10, digits), rounded = Math.floor(value * power + 0.5) / power;
  return (rounded >= 0 ? "" : "−") + Math.abs(rounded).toFixed(digits);
}
function percent(share, digits) { return fixed(100 * share, digits === undefined ? 1 : digits) + "\u00a0%"; }
function sum(numbers) { return numbers.reduce(function (total, x) { return total + x; }, 0); }
function best(numbers) { return numbers.indexOf(Math.max.apply(null, numbers)); }
function softmax(logits) {
  var top = Math.max.apply(null, logits), parts = logits.map(function (x) { return Math.exp(x - top); }), all = sum(parts);
  return parts.map(function (x) { return x / all; });
}
function range(count) { return Array.from({ length: count }, function (_, i) { return i; }); }
function fill(count, value) { return range(count).map(function () { return value; }); }
function ticks(low, high) {  // round numbers between two ends, about five, with their texts
  var raw = (high - low) / 6, power = Math.pow(10, Math.floor(Math.log10(raw))), step = [1, 2, 5, 10].find(function (n) { return n * power >= raw; }) * power;
  var digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9)), first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
  return range(last - first + 1).map(function (n) { return [(first + n) * step, fixed((first + n) * step, digits)]; });
}
function capital(word) { return word[0].toUpperCase() + word.slice(1); }
