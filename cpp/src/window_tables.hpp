#pragma once

#include "sep/tables.hpp"
#include "sep/window.hpp"

namespace sep {

inline TableView view_of(const Tables& t, const WindowTables& w) {
    return {t.g.data(),     t.log2_3,        t.rows.data(),         t.row_of.data(),
            w.spans.data(), w.decays.data(), w.decays_first.data(), w.templates.data()};
}

}  // namespace sep
