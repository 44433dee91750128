"""What a model file may name: classes and functions by module and exact name, each with the way it may be used.

A name that isn't here is foreign, whatever it is. There are no prefixes and no patterns: where a new version of a
library moves a class, its models don't pass until the name stands here.
"""

from __future__ import annotations

# Made without arguments, with a dictionary as state, once: Python classes whose `__setstate__`, where they have one,
# warns about versions and keeps the dictionary.
_OBJECTS = """
scipy.interpolate._bsplines: BSpline
scipy.sparse._coo: coo_array coo_matrix
scipy.sparse._csc: csc_array csc_matrix
scipy.sparse._csr: csr_array csr_matrix
sklearn._loss.link: HalfLogitLink IdentityLink Interval LogLink LogitLink MultinomialLogit
sklearn._loss.loss: AbsoluteError ExponentialLoss HalfBinomialLoss HalfGammaLoss HalfMultinomialLoss
    HalfPoissonLoss HalfSquaredError HalfTweedieLoss HalfTweedieLossIdentity HuberLoss PinballLoss
sklearn.calibration: CalibratedClassifierCV _CalibratedClassifier _SigmoidCalibration _TemperatureScaling
sklearn.cluster._affinity_propagation: AffinityPropagation
sklearn.cluster._agglomerative: AgglomerativeClustering FeatureAgglomeration
sklearn.cluster._bicluster: SpectralBiclustering SpectralCoclustering
sklearn.cluster._birch: Birch _CFNode _CFSubcluster
sklearn.cluster._bisect_k_means: BisectingKMeans _BisectingTree
sklearn.cluster._dbscan: DBSCAN
sklearn.cluster._hdbscan.hdbscan: HDBSCAN
sklearn.cluster._kmeans: KMeans MiniBatchKMeans
sklearn.cluster._mean_shift: MeanShift
sklearn.cluster._optics: OPTICS
sklearn.cluster._spectral: SpectralClustering
sklearn.compose._column_transformer: ColumnTransformer make_column_selector _RemainderColsList
sklearn.compose._target: TransformedTargetRegressor
sklearn.covariance._elliptic_envelope: EllipticEnvelope
sklearn.covariance._empirical_covariance: EmpiricalCovariance
sklearn.covariance._graph_lasso: GraphicalLasso GraphicalLassoCV
sklearn.covariance._robust_covariance: MinCovDet
sklearn.covariance._shrunk_covariance: LedoitWolf OAS ShrunkCovariance
sklearn.cross_decomposition._pls: CCA PLSCanonical PLSRegression PLSSVD
sklearn.decomposition._dict_learning: DictionaryLearning MiniBatchDictionaryLearning SparseCoder
sklearn.decomposition._factor_analysis: FactorAnalysis
sklearn.decomposition._fastica: FastICA
sklearn.decomposition._incremental_pca: IncrementalPCA
sklearn.decomposition._kernel_pca: KernelPCA
sklearn.decomposition._lda: LatentDirichletAllocation
sklearn.decomposition._nmf: MiniBatchNMF NMF
sklearn.decomposition._pca: PCA
sklearn.decomposition._sparse_pca: MiniBatchSparsePCA SparsePCA
sklearn.decomposition._truncated_svd: TruncatedSVD
sklearn.discriminant_analysis: LinearDiscriminantAnalysis QuadraticDiscriminantAnalysis
sklearn.dummy: DummyClassifier DummyRegressor
sklearn.ensemble._bagging: BaggingClassifier BaggingRegressor
sklearn.ensemble._forest: ExtraTreesClassifier ExtraTreesRegressor RandomForestClassifier RandomForestRegressor
    RandomTreesEmbedding
sklearn.ensemble._gb: GradientBoostingClassifier GradientBoostingRegressor
sklearn.ensemble._gb_losses: BinomialDeviance ExponentialLoss HuberLossFunction LeastAbsoluteError
    LeastSquaresError MultinomialDeviance QuantileLossFunction
sklearn.ensemble._hist_gradient_boosting.binning: _BinMapper
sklearn.ensemble._hist_gradient_boosting.gradient_boosting: HistGradientBoostingClassifier
    HistGradientBoostingRegressor
sklearn.ensemble._hist_gradient_boosting.predictor: TreePredictor
sklearn.ensemble._iforest: IsolationForest
sklearn.ensemble._stacking: StackingClassifier StackingRegressor
sklearn.ensemble._voting: VotingClassifier VotingRegressor
sklearn.ensemble._weight_boosting: AdaBoostClassifier AdaBoostRegressor
sklearn.feature_extraction._dict_vectorizer: DictVectorizer
sklearn.feature_extraction._hash: FeatureHasher
sklearn.feature_extraction.image: PatchExtractor
sklearn.feature_extraction.text: CountVectorizer HashingVectorizer TfidfTransformer TfidfVectorizer
sklearn.feature_selection._from_model: SelectFromModel
sklearn.feature_selection._rfe: RFE RFECV
sklearn.feature_selection._sequential: SequentialFeatureSelector
sklearn.feature_selection._univariate_selection: GenericUnivariateSelect SelectFdr SelectFpr SelectFwe
    SelectKBest SelectPercentile
sklearn.feature_selection._variance_threshold: VarianceThreshold
sklearn.frozen._frozen: FrozenEstimator
sklearn.gaussian_process._gpc: GaussianProcessClassifier _BinaryGaussianProcessClassifierLaplace
sklearn.gaussian_process._gpr: GaussianProcessRegressor
sklearn.gaussian_process.kernels: CompoundKernel ConstantKernel DotProduct ExpSineSquared Exponentiation Matern
    PairwiseKernel Product RBF RationalQuadratic Sum WhiteKernel
sklearn.impute._base: MissingIndicator SimpleImputer
sklearn.impute._iterative: IterativeImputer
sklearn.impute._knn: KNNImputer
sklearn.isotonic: IsotonicRegression
sklearn.kernel_approximation: AdditiveChi2Sampler Nystroem PolynomialCountSketch RBFSampler SkewedChi2Sampler
sklearn.kernel_ridge: KernelRidge
sklearn.linear_model._base: LinearRegression
sklearn.linear_model._bayes: ARDRegression BayesianRidge
sklearn.linear_model._coordinate_descent: ElasticNet ElasticNetCV Lasso LassoCV MultiTaskElasticNet
    MultiTaskElasticNetCV MultiTaskLasso MultiTaskLassoCV
sklearn.linear_model._glm.glm: GammaRegressor PoissonRegressor TweedieRegressor
sklearn.linear_model._huber: HuberRegressor
sklearn.linear_model._least_angle: Lars LarsCV LassoLars LassoLarsCV LassoLarsIC
sklearn.linear_model._logistic: LogisticRegression LogisticRegressionCV
sklearn.linear_model._omp: OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV
sklearn.linear_model._passive_aggressive: PassiveAggressiveClassifier PassiveAggressiveRegressor
sklearn.linear_model._perceptron: Perceptron
sklearn.linear_model._quantile: QuantileRegressor
sklearn.linear_model._ransac: RANSACRegressor
sklearn.linear_model._ridge: Ridge RidgeCV RidgeClassifier RidgeClassifierCV
sklearn.linear_model._stochastic_gradient: SGDClassifier SGDOneClassSVM SGDRegressor
sklearn.linear_model._theil_sen: TheilSenRegressor
sklearn.manifold._classical_mds: ClassicalMDS
sklearn.manifold._isomap: Isomap
sklearn.manifold._locally_linear: LocallyLinearEmbedding
sklearn.manifold._mds: MDS
sklearn.manifold._spectral_embedding: SpectralEmbedding
sklearn.manifold._t_sne: TSNE
sklearn.metrics._scorer: _CurveScorer _MultimetricScorer _PassthroughScorer _PredictScorer _ProbaScorer _Scorer
    _ThresholdScorer
sklearn.mixture._bayesian_mixture: BayesianGaussianMixture
sklearn.mixture._gaussian_mixture: GaussianMixture
sklearn.model_selection._classification_threshold: FixedThresholdClassifier TunedThresholdClassifierCV
sklearn.model_selection._search: GridSearchCV RandomizedSearchCV
sklearn.model_selection._search_successive_halving: HalvingGridSearchCV HalvingRandomSearchCV
sklearn.model_selection._split: GroupKFold GroupShuffleSplit KFold LeaveOneGroupOut LeaveOneOut LeavePGroupsOut
    LeavePOut PredefinedSplit RepeatedKFold RepeatedStratifiedKFold ShuffleSplit StratifiedGroupKFold
    StratifiedKFold StratifiedShuffleSplit TimeSeriesSplit
sklearn.multiclass: OneVsOneClassifier OneVsRestClassifier OutputCodeClassifier _ConstantPredictor
sklearn.multioutput: ClassifierChain MultiOutputClassifier MultiOutputRegressor RegressorChain
sklearn.naive_bayes: BernoulliNB CategoricalNB ComplementNB GaussianNB MultinomialNB
sklearn.neighbors._classification: KNeighborsClassifier RadiusNeighborsClassifier
sklearn.neighbors._graph: KNeighborsTransformer RadiusNeighborsTransformer
sklearn.neighbors._kde: KernelDensity
sklearn.neighbors._lof: LocalOutlierFactor
sklearn.neighbors._nca: NeighborhoodComponentsAnalysis
sklearn.neighbors._nearest_centroid: NearestCentroid
sklearn.neighbors._regression: KNeighborsRegressor RadiusNeighborsRegressor
sklearn.neighbors._unsupervised: NearestNeighbors
sklearn.neural_network._multilayer_perceptron: MLPClassifier MLPRegressor
sklearn.neural_network._rbm: BernoulliRBM
sklearn.neural_network._stochastic_optimizers: AdamOptimizer SGDOptimizer
sklearn.pipeline: FeatureUnion Pipeline
sklearn.preprocessing._data: Binarizer KernelCenterer MaxAbsScaler MinMaxScaler Normalizer PowerTransformer
    QuantileTransformer RobustScaler StandardScaler
sklearn.preprocessing._discretization: KBinsDiscretizer
sklearn.preprocessing._encoders: OneHotEncoder OrdinalEncoder
sklearn.preprocessing._function_transformer: FunctionTransformer
sklearn.preprocessing._label: LabelBinarizer LabelEncoder MultiLabelBinarizer
sklearn.preprocessing._polynomial: PolynomialFeatures SplineTransformer
sklearn.preprocessing._target_encoder: TargetEncoder
sklearn.random_projection: GaussianRandomProjection SparseRandomProjection
sklearn.semi_supervised._label_propagation: LabelPropagation LabelSpreading
sklearn.semi_supervised._self_training: SelfTrainingClassifier
sklearn.svm._classes: LinearSVC LinearSVR NuSVC NuSVR OneClassSVM SVC SVR
sklearn.tree._classes: DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier ExtraTreeRegressor
sklearn.utils._metadata_requests: MetadataRequest MetadataRouter MethodMapping MethodMetadataRequest
"""

# Losses and metrics in compiled code: made from numbers alone.
_LOSSES = """
sklearn._loss._loss: CyHalfSquaredError CyAbsoluteError CyPinballLoss CyHuberLoss CyHalfPoissonLoss CyHalfGammaLoss
    CyHalfTweedieLoss CyHalfTweedieLossIdentity CyHalfBinomialLoss CyExponentialLoss CyHalfMultinomialLoss
sklearn.linear_model._sgd_fast: ModifiedHuber Hinge SquaredHinge EpsilonInsensitive SquaredEpsilonInsensitive Log
    SquaredLoss Huber
"""
_REMADE_LOSSES = " ".join(f"__pyx_unpickle_{name}" for name in _LOSSES.split() if name.startswith("Cy"))
LOST_MODULE, LOST_FROM = "_loss", "sklearn._loss.loss"
"""What scikit-learn 1.5 to 1.8 call the module of compiled losses, and the module that has it loaded by then."""
LOST_WARNING = (
    f"Who loads it: scikit-learn 1.5 to 1.8 call a module of theirs '{LOST_MODULE}', so with another version a file of "
    "that name, if one lies where Python looks for modules, would run."
)

_DISTANCES = """
Euclidean SEuclidean Manhattan Chebyshev Minkowski Mahalanobis Hamming Canberra BrayCurtis Jaccard Matching Dice
Kulsinski RogersTanimoto RussellRao SokalMichener SokalSneath Haversine
"""
_METRICS = " ".join(f"{name}Distance{bits}" for bits in ("", "32", "64") for name in _DISTANCES.split())

# Functions that a model keeps and calls later, on data: nothing of a file, a network or a program is in them.
# numpy before 2.0 names the compiled ones where they're made.
_COMPILED = """
log log1p log2 log10 exp expm1 exp2 sqrt cbrt square absolute negative reciprocal sin cos tan tanh sign maximum minimum
"""
_FUNCTIONS = f"""
numpy.core._multiarray_umath: {_COMPILED}
numpy._core._multiarray_umath: {_COMPILED}
numpy: {_COMPILED} abs nan_to_num mean median
scipy._lib.array_api_compat.numpy._aliases: asarray
scipy.special._ufuncs: expit logit log_ndtr
sklearn.feature_selection._univariate_selection: f_classif f_regression chi2 r_regression f_oneway
sklearn.feature_selection._mutual_info: mutual_info_classif mutual_info_regression
sklearn.utils.validation: check_array
sklearn.cluster._kmeans: _kmeans_single_lloyd _kmeans_single_elkan
sklearn.metrics._scorer: _passthrough_scorer
sklearn.metrics._classification: accuracy_score balanced_accuracy_score f1_score fbeta_score precision_score
    recall_score jaccard_score matthews_corrcoef cohen_kappa_score log_loss brier_score_loss d2_log_loss_score
    zero_one_loss hamming_loss hinge_loss
sklearn.metrics._ranking: roc_auc_score average_precision_score top_k_accuracy_score ndcg_score dcg_score
sklearn.metrics._regression: r2_score mean_squared_error root_mean_squared_error mean_absolute_error
    median_absolute_error mean_squared_log_error root_mean_squared_log_error mean_absolute_percentage_error max_error
    explained_variance_score mean_poisson_deviance mean_gamma_deviance mean_pinball_loss d2_absolute_error_score
sklearn.metrics.pairwise: euclidean_distances manhattan_distances cosine_distances rbf_kernel linear_kernel
    polynomial_kernel sigmoid_kernel laplacian_kernel cosine_similarity chi2_kernel
"""
_TYPES = """
builtins: object bool int float str complex list dict tuple
numpy: bool_ bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128 str_
    object_
numpy.random._mt19937: MT19937
numpy.random._pcg64: PCG64 PCG64DXSM
numpy.random._philox: Philox
numpy.random._sfc64: SFC64
numpy.random.bit_generator: SeedSequence
numpy.random.mtrand: RandomState
numpy.random._generator: Generator
"""


def _listed(text: str, rule: str) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    module = ""
    for word in text.split():
        if word.endswith(":"):
            module = word[:-1]
        else:
            found[module, word] = rule
    return found


ALLOWED: dict[tuple[str, str], str] = (
    _listed(_OBJECTS, "object")
    | _listed(_LOSSES, "loss")
    | _listed(f"{LOST_MODULE}: {_REMADE_LOSSES.replace('__pyx_unpickle_', '')}", "loss")
    | _listed(f"sklearn._loss._loss: {_REMADE_LOSSES} {LOST_MODULE}: {_REMADE_LOSSES}", "remade_loss")
    | _listed(f"sklearn.metrics._dist_metrics: {_METRICS} sklearn.neighbors._dist_metrics: {_METRICS}", "metric")
    | _listed(_FUNCTIONS, "function")
    | _listed(_TYPES, "type")
    | {
        (f"numpy.{core}.{module}", name): rule
        for core in ("_core", "core")
        for module, name, rule in (
            ("multiarray", "_reconstruct", "array"),
            ("multiarray", "scalar", "scalar"),
            ("numeric", "_frombuffer", "buffer"),
        )
    }
    | {
        ("numpy", "ndarray"): "ndarray",
        ("numpy", "dtype"): "dtype",
        ("numpy.ma", "MaskedArray"): "masked",
        ("numpy.ma.core", "MaskedArray"): "masked",
        ("numpy.ma.core", "_mareconstruct"): "masked_array",
        ("numpy.random._pickle", "__bit_generator_ctor"): "bit_generator",
        ("numpy.random._pickle", "__generator_ctor"): "generator",
        ("numpy.random._pickle", "__randomstate_ctor"): "random_state",
        ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"): "seed_sequence",
        ("sklearn.tree._tree", "Tree"): "tree",
        ("sklearn.metrics._dist_metrics", "newObj"): "new_metric",
        ("sklearn.neighbors._dist_metrics", "newObj"): "new_metric",
        ("sklearn.neighbors._kd_tree", "newObj"): "new_neighbours",
        ("sklearn.neighbors._ball_tree", "newObj"): "new_neighbours",
        ("sklearn.neighbors._kd_tree", "KDTree"): "neighbours",
        ("sklearn.neighbors._kd_tree", "KDTree64"): "neighbours",
        ("sklearn.neighbors._ball_tree", "BallTree"): "neighbours",
        ("sklearn.neighbors._ball_tree", "BallTree64"): "neighbours",
        ("sklearn.impute._iterative", "_ImputerTriplet"): "triple",
        ("sklearn.utils._bunch", "Bunch"): "bunch",
        ("functools", "partial"): "partial",
        ("joblib.numpy_pickle", "NumpyArrayWrapper"): "wrapper",
        ("copyreg", "_reconstructor"): "reconstructor",
        ("_codecs", "encode"): "encode",
        ("builtins", "bytes"): "bytes",
        ("builtins", "bytearray"): "bytearray",
        ("builtins", "set"): "set",
        ("builtins", "frozenset"): "set",
        ("builtins", "slice"): "slice",
        ("builtins", "range"): "slice",
        ("collections", "OrderedDict"): "ordered",
        ("collections", "defaultdict"): "defaults",
    }
)
"""(module, name) to the rule of use; `calls` and `states` have a rule's meaning."""

OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""What Python 2 called two modules: protocols 0 to 2 still write it."""

_LIKE_NUMPY = frozenset({"cupy", "dask", "jax", "numpy", "torch"})
_MODULES = {module for module, _ in ALLOWED}


def has_no_dtype(module: str) -> bool:
    """Whether a module, if there's one of that name, surely doesn't lead to numpy's `dtype`."""
    if module in _MODULES:
        return not module.startswith("numpy")
    return not all(map(str.isidentifier, module.split("."))) or ("." not in module and module not in _LIKE_NUMPY)
