// Eq. 5 on a small tree: the same panels as Products.panels.
function view(values, data) {
  var levels = data.levels, names = data.names, logits = {}, own = {}, refined = {}, scores = {};
  levels.forEach(function (level) {
    logits[level] = names[level].map(function (_, i) { return values[level + i]; });
    own[level] = softmax(logits[level]);
  });
  levels.slice().reverse().forEach(function (level, n) {
    var above = n === 0 ? null : levels[levels.length - n], parent = data.parent[level];
    refined[level] = own[level].map(function (p, i) { return above ? refined[above][parent[i]] * p : p; });
    scores[level] = logits[level].map(function (x, i) { return above ? scores[above][parent[i]] + x : x; });
  });
  function chain(city) {
    var path = { city: city };
    levels.slice(1).forEach(function (level, n) { path[level] = data.parent[levels[n]][path[levels[n]]]; });
    return path;
  }
  function alone(table) {
    var ids = {};
    levels.forEach(function (level) { ids[level] = best(table[level]); });
    return ids;
  }
  var answers = { none: alone(logits), independent: alone(scores), codependent: chain(best(scores.city)) };
  var truth = values.truth ? chain(values.truth - 1) : null;
  var rows = data.modes.map(function (mode) {
    var ids = answers[mode], path = chain(ids.city);
    var fits = levels.every(function (level) { return ids[level] === path[level]; });
    var marks = levels.map(function (level) { return !truth ? "" : ids[level] === truth[level] ? "right" : "wrong"; });
    var cells = levels.map(function (level) { return names[level][ids[level]]; });
    return { cells: [mode].concat(cells, fits ? "yes" : "no"), marks: [""].concat(marks, ""), strong: mode === "codependent" };
  });
  if (truth) {
    var cells = levels.map(function (level) { return names[level][truth[level]]; });
    rows.push({ cells: ["truth"].concat(cells, ""), marks: fill(6, ""), strong: false });
  }
  var products = names.city.map(function (name, city) {
    var path = chain(city), factors = levels.map(function (level) { return fixed(own[level][path[level]], 3); });
    return { cells: [name, factors.join(" × "), percent(refined.city[city])], marks: ["", "", ""], strong: city === answers.codependent.city };
  });
  return [
    { kind: "table", title: "Three ways to read an answer", head: ["mode"].concat(levels, "fits together"), rows: rows },
    { kind: "table", title: "Eq. 5, city by city", head: ["city", "P(city) × P(state) × P(country) × P(continent)", "product"], rows: products },
  ].concat(levels.map(function (level) {
    return {
      kind: "bars", title: capital(level), colour: data.colours[level], columns: ["P", "P′"],
      rows: names[level].map(function (name, i) {
        var both = [own[level][i], refined[level][i]];
        return { label: name, values: both, texts: both.map(function (p) { return percent(p); }), strong: truth !== null && truth[level] === i };
      }),
    };
  }));
}
